"""The modern arm on the test images: each read-out of the frozen features, fitted on the subset's training images."""

from src import files
from src.params import Settings
from src.probing import Backbone, write_frozen_cell
from stages import run


def main(settings: Settings) -> None:
    features, head = files.read_features(files.CONVNEXT_FEATURES)
    report = write_frozen_cell(
        files.CONVNEXT_PREDICTIONS,
        files.CONVNEXT_PLOTS,
        backbone=Backbone(
            role="convnext",
            arch=settings.convnext.arch,
            features=features,
            head=head,
            embedding=files.read_json(files.EMBED_CONVNEXT_METRICS)["embed_convnext"],
        ),
        subset=files.read_arrays(files.SUBSET / "subset.npz"),
        classes=files.read_json(files.SUBSET / "classes.json"),
        readouts=settings.frozen.readouts,
        shots=settings.frozen.shots,
        seed=settings.seed,
    )
    files.write_json(files.CONVNEXT_METRICS, {"convnext": report})


if __name__ == "__main__":
    run(main)
