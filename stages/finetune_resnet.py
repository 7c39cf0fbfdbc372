"""The legacy arm: ResNet trained on the subset, the best epoch by validation kept."""

from src import files, resuming, runtime, tuned
from src.batches import Data
from src.finetuning import Task, write_finetuned
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    known = "finetune_resnet", settings, runtime.machine(accelerator)
    with resuming.place(*known) as place:
        raw = files.read_array(files.RAW / "train_images.npy")
        task = Task(
            data=Data.of(raw, files.read_arrays(files.SUBSET / "subset.npz"), accelerator.device),
            weights=files.read_tensors(files.RESNET_WEIGHTS),
            classes=files.read_json(files.SUBSET / "classes.json"),
            image_size=settings.image_size,
            seed=settings.seed,
            accelerator=accelerator,
            recipe=settings.finetune.recipe() | tuned.read_best(files.BEST_PARAMS, "resnet"),
        )
        report = write_finetuned(
            files.RESNET_CHECKPOINTS,
            files.RESNET_CURVES,
            task,
            methods=settings.finetune.methods,
            place=place,
            end=resuming.end(*known),
        )
        if report:
            files.write_json(files.FINETUNE_RESNET_METRICS, {"finetune_resnet": report})


if __name__ == "__main__":
    run(main)
