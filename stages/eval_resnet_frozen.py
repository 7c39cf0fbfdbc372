"""A control on the test images: the read-outs of the legacy backbone's frozen features."""

from src import files
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    if not settings.controls:
        files.write_nothing(files.RESNET_FROZEN_PREDICTIONS, files.RESNET_FROZEN_PLOTS, files.RESNET_FROZEN_METRICS)
        return
    from src.probing import Backbone, write_frozen_cell  # scikit-learn takes a second to import

    features, head = files.read_features(files.RESNET_FEATURES)
    report = write_frozen_cell(
        files.RESNET_FROZEN_PREDICTIONS,
        files.RESNET_FROZEN_PLOTS,
        backbone=Backbone(
            role="resnet",
            arch=settings.resnet.arch,
            features=features,
            head=head,
            embedding=files.read_json(files.EMBED_RESNET_METRICS)["embed_resnet"],
        ),
        subset=files.read_arrays(files.SUBSET / "subset.npz"),
        classes=files.read_json(files.SUBSET / "classes.json"),
        readouts=settings.frozen.readouts,
        shots=settings.frozen.shots,
        seed=settings.seed,
    )
    files.write_json(files.RESNET_FROZEN_METRICS, {"resnet": report})


if __name__ == "__main__":
    run(main)
