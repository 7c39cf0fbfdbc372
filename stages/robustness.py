"""Every arm on corrupted, attacked and unknown images; switched off by default."""

from typing import TYPE_CHECKING

from src.core.design import CELLS, QUESTION
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, saved_state, start

if TYPE_CHECKING:
    import torch

    from src.arms import Network


def read_networks(settings: Settings, device: "torch.device") -> "list[Network]":
    """The networks of every cell that was run, backbone by backbone: those of the first seed."""
    from src.arms import FrozenFiles, read_finetuned, read_frozen

    seed = settings.seeds[0]
    networks = []
    for cell in CELLS if settings.controls else QUESTION:
        backbone, column = cell.split(".")
        if column == "finetuned":
            folder = paths.of_seed(paths.checkpoints(backbone), seed)
            networks += read_finetuned(folder, backbone, settings.finetune.methods, device)
        else:
            networks += read_frozen(
                backbone,
                FrozenFiles(paths.weights(backbone), paths.features(backbone), paths.predictions(cell)),
                settings.frozen,
                image_size=settings.image_size,
                normalisation=settings.normalisation,
                configurations=settings.tune.configurations,
                subset=files.read_arrays(paths.subset(seed)),
                seed=seed,
                device=device,
            )
    return networks


def main(settings: Settings) -> None:
    if not settings.robustness.enabled:
        plots = paths.plots("robustness")
        files.write_empty(plots, paths.pictures(plots), paths.record("robustness"), paths.metrics("robustness"))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.robustness.study import Study, run_study
    from src.storage import raw

    # Rounded gradients pass for robustness.
    accelerator = start(settings, "fp32")
    study = Study(
        networks=read_networks(settings, accelerator.device),
        archs={"resnet": settings.resnet.arch, "convnext": settings.convnext.arch},
        raw={split: raw.images(split) for split in ("train", "test")},
        raw_labels=raw.labels("test"),
        subset=files.read_arrays(paths.subset(settings.seeds[0])),
        classes=len(files.read_json(paths.CLASSES)),
        dataset=settings.dataset,
        config=settings.robustness,
        question=settings.compare.question,
        seed=settings.seeds[0],
        accelerator=accelerator,
    )
    with saved_state("robustness", settings, runtime.machine(accelerator)) as state_file:
        results = run_study(paths.plots("robustness"), study, settings.compare.confidence, state_file)
        files.write_json(paths.metrics("robustness"), {"robustness": results.numbers()})
        files.write_record(paths.record("robustness"), results)


if __name__ == "__main__":
    run(main)
