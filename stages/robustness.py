"""Every arm on corrupted, attacked and unknown images; switched off by default."""

from typing import TYPE_CHECKING

from src.core.design import CELLS, QUESTION
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, saved_state

if TYPE_CHECKING:
    import torch

    from src.robustness.networks import Network


def read_networks(settings: Settings, device: "torch.device") -> "list[Network]":
    """The networks of every cell that was run, backbone by backbone."""
    from src.robustness.networks import read_finetuned, read_frozen

    methods, readouts = settings.finetune.methods, settings.frozen.readouts
    how = {
        "image_size": settings.image_size,
        "subset": files.read_arrays(paths.SUBSET / "subset.npz"),
        "classes": files.read_json(paths.SUBSET / "classes.json"),
        "shots": settings.frozen.shots,
        "seed": settings.seed,
        "device": device,
    }
    networks = []
    for cell in CELLS if settings.controls else QUESTION:
        backbone, column = cell.split(".")
        if column == "finetuned":
            networks += read_finetuned(paths.checkpoints(backbone), backbone, methods, device)
        else:
            folders = paths.weights(backbone), paths.features(backbone), paths.predictions(cell)
            networks += read_frozen(*folders, backbone, readouts, **how)
    return networks


def main(settings: Settings) -> None:
    if not settings.robustness.enabled:
        files.write_empty(paths.plots("robustness"), paths.metrics("robustness"))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.robustness.study import Study, run_study

    # Rounded gradients pass for robustness.
    accelerator = runtime.start(settings.device, "fp32", deterministic=settings.deterministic)
    study = Study(
        networks=read_networks(settings, accelerator.device),
        archs={"resnet": settings.resnet.arch, "convnext": settings.convnext.arch},
        raw={split: files.read_array(paths.RAW / f"{split}_images.npy") for split in ("train", "test")},
        raw_labels=files.read_array(paths.RAW / "test_labels.npy"),
        subset=files.read_arrays(paths.SUBSET / "subset.npz"),
        classes=len(files.read_json(paths.SUBSET / "classes.json")),
        dataset=settings.dataset,
        plan=settings.robustness.model_dump(),
        seed=settings.seed,
        accelerator=accelerator,
    )
    confidence, resamples = settings.compare.confidence, settings.compare.resamples
    with saved_state("robustness", settings, runtime.machine(accelerator)) as state:
        report = run_study(paths.plots("robustness"), study, confidence=confidence, resamples=resamples, place=state)
        files.write_json(paths.metrics("robustness"), {"robustness": report})


if __name__ == "__main__":
    run(main)
