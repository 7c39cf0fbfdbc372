"""A control on the test images: the fine-tuned modern backbone."""

from src import files
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    if not settings.controls:
        files.write_nothing(
            files.CONVNEXT_FINETUNED_PREDICTIONS, files.CONVNEXT_FINETUNED_PLOTS, files.CONVNEXT_FINETUNED_METRICS
        )
        return
    from src import runtime  # PyTorch takes seconds to import
    from src.evaluation import write_finetuned_cell

    report = write_finetuned_cell(
        files.CONVNEXT_FINETUNED_PREDICTIONS,
        files.CONVNEXT_FINETUNED_PLOTS,
        role="convnext",
        checkpoints={
            method: files.read_tensors(files.CONVNEXT_CHECKPOINTS / f"{method}.safetensors")
            for method in settings.finetune.methods
        },
        training=files.read_json(files.FINETUNE_CONVNEXT_METRICS)["finetune_convnext"],
        raw={split: files.read_array(files.RAW / f"{split}_images.npy") for split in ("train", "test")},
        subset=files.read_arrays(files.SUBSET / "subset.npz"),
        accelerator=runtime.start(settings.device, settings.precision, deterministic=settings.deterministic),
    )
    if report:
        files.write_json(files.CONVNEXT_FINETUNED_METRICS, {"convnext": report})


if __name__ == "__main__":
    run(main)
