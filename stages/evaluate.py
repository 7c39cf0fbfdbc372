"""One cell of the 2 x 2 table on the test images. Stages eval_resnet, eval_convnext, and the controls' two."""

from src.core.design import QUESTION, ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def main(settings: Settings, backbone: str, column: str) -> None:
    cell = f"{backbone}.{column}"
    name = paths.cell_name(cell)
    if cell not in QUESTION and not settings.controls:
        files.write_empty(paths.predictions(cell), paths.plots(name), paths.metrics(name))
        return
    report = frozen(settings, backbone) if column == "frozen" else finetuned(settings, backbone)
    if report:
        files.write_json(paths.metrics(name), {backbone: report})


def finetuned(settings: Settings, backbone: str) -> dict:
    """The fine-tuned networks' logits, what is right and wrong about them, and what they cost."""
    from src.device import runtime  # PyTorch takes seconds to import
    from src.evaluate.finetuned import evaluate

    cell, folder, stage = f"{backbone}.finetuned", paths.checkpoints(backbone), f"finetune_{backbone}"
    return evaluate(
        paths.predictions(cell),
        paths.plots(paths.cell_name(cell)),
        role=backbone,
        checkpoints={name: files.read_tensors(folder / f"{name}.safetensors") for name in settings.finetune.methods},
        training=files.read_json(paths.metrics(stage))[stage],
        raw={split: files.read_array(paths.RAW / f"{split}_images.npy") for split in ("train", "test")},
        subset=files.read_arrays(paths.SUBSET / "subset.npz"),
        accelerator=runtime.start(settings.device, settings.precision, deterministic=settings.deterministic),
    )


def frozen(settings: Settings, backbone: str) -> dict:
    """Each read-out of the frozen features, fitted on the subset's training images."""
    from src.evaluate.frozen import FrozenBackbone, evaluate

    cell, stage = f"{backbone}.frozen", f"embed_{backbone}"
    features, head = files.read_features(paths.features(backbone))
    return evaluate(
        paths.predictions(cell),
        paths.plots(paths.cell_name(cell)),
        backbone=FrozenBackbone(
            role=backbone,
            arch=(settings.resnet if backbone == "resnet" else settings.convnext).arch,
            features=features,
            head=head,
            embedding=files.read_json(paths.metrics(stage))[stage],
        ),
        subset=files.read_arrays(paths.SUBSET / "subset.npz"),
        classes=files.read_json(paths.SUBSET / "classes.json"),
        readouts=settings.frozen.readouts,
        shots=settings.frozen.shots,
        seed=settings.seed,
    )


if __name__ == "__main__":
    run(main, ROLES, ("frozen", "finetuned"))
