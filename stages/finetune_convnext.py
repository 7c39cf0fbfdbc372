"""A control: the modern backbone trained as the legacy one is, so that the 2 x 2 table is whole."""

from src import files
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    if not settings.controls:
        files.write_nothing(files.CONVNEXT_CHECKPOINTS, files.CONVNEXT_CURVES, files.FINETUNE_CONVNEXT_METRICS)
        return
    from src import resuming, runtime, tuned  # PyTorch takes seconds to import
    from src.batches import Data
    from src.finetuning import Task, write_finetuned

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    known = "finetune_convnext", settings, runtime.machine(accelerator)
    with resuming.place(*known) as place:
        raw = files.read_array(files.RAW / "train_images.npy")
        task = Task(
            data=Data.of(raw, files.read_arrays(files.SUBSET / "subset.npz"), accelerator.device),
            weights=files.read_tensors(files.CONVNEXT_WEIGHTS),
            classes=files.read_json(files.SUBSET / "classes.json"),
            image_size=settings.image_size,
            seed=settings.seed,
            accelerator=accelerator,
            recipe=settings.finetune.recipe() | tuned.read_best(files.BEST_PARAMS, "convnext"),
        )
        report = write_finetuned(
            files.CONVNEXT_CHECKPOINTS,
            files.CONVNEXT_CURVES,
            task,
            methods=settings.finetune.methods,
            place=place,
            end=resuming.end(*known),
        )
        if report:
            files.write_json(files.FINETUNE_CONVNEXT_METRICS, {"finetune_convnext": report})


if __name__ == "__main__":
    run(main)
