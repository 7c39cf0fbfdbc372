"""A control: the legacy backbone's features of every image, as the modern one's."""

from src import files
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    if not settings.controls:
        files.write_nothing(files.RESNET_FEATURES, files.EMBED_RESNET_METRICS)
        return
    from src import resuming, runtime  # PyTorch takes seconds to import
    from src.embedding import write_features

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    with resuming.place("embed_resnet", settings, runtime.machine(accelerator)) as place:
        report = write_features(
            files.RESNET_FEATURES,
            weights=files.read_tensors(files.RESNET_WEIGHTS),
            raw={split: files.read_array(files.RAW / f"{split}_images.npy") for split in ("train", "test")},
            image_size=settings.image_size,
            accelerator=accelerator,
            place=place,
        )
        if report:
            files.write_json(files.EMBED_RESNET_METRICS, {"embed_resnet": report})


if __name__ == "__main__":
    run(main)
