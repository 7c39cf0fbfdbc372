"""The modern arm's features of every image, whatever the subset: a sweep over class counts pays for them once."""

from src import files, resuming, runtime
from src.embedding import write_features
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    with resuming.place("embed_convnext", settings, runtime.machine(accelerator)) as place:
        report = write_features(
            files.CONVNEXT_FEATURES,
            weights=files.read_tensors(files.CONVNEXT_WEIGHTS),
            raw={split: files.read_array(files.RAW / f"{split}_images.npy") for split in ("train", "test")},
            image_size=settings.image_size,
            accelerator=accelerator,
            place=place,
        )
        if report:
            files.write_json(files.EMBED_CONVNEXT_METRICS, {"embed_convnext": report})


if __name__ == "__main__":
    run(main)
