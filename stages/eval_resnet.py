"""The legacy arm on the test images: fine-tuned ResNet's logits, and what is right and wrong about them."""

from src import files, runtime
from src.evaluation import write_finetuned_cell
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    report = write_finetuned_cell(
        files.RESNET_PREDICTIONS,
        files.RESNET_PLOTS,
        role="resnet",
        checkpoints={
            method: files.read_tensors(files.RESNET_CHECKPOINTS / f"{method}.safetensors")
            for method in settings.finetune.methods
        },
        training=files.read_json(files.FINETUNE_RESNET_METRICS)["finetune_resnet"],
        raw={split: files.read_array(files.RAW / f"{split}_images.npy") for split in ("train", "test")},
        subset=files.read_arrays(files.SUBSET / "subset.npz"),
        accelerator=runtime.start(settings.device, settings.precision, deterministic=settings.deterministic),
    )
    if report:
        files.write_json(files.RESNET_METRICS, {"resnet": report})


if __name__ == "__main__":
    run(main)
