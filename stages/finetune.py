"""Fine-tune one backbone under every seed and by every method. Stages finetune_resnet, finetune_convnext."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import kept_end, raw_images, run, saved_state, start

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from src.device.prefetch import Images
    from src.records.finetune import Training, Trainings
    from src.storage.resume import StateFile


def trained(
    settings: Settings,
    backbone: str,
    raw: "Mapping[str, Images]",
    curves: "Path",
    best: Mapping[str, float],
    accelerator: "Accelerator",
    state: "StateFile",
    end: "StateFile",
) -> "Trainings | None":
    """Fine-tune one backbone under every seed; in the first process, the trainings.

    Args:
        raw: see `stages.raw_images`.
        best: what the search found: `lr`, or nothing.
        state, end: see `methods.finetune`.
    """
    from src.finetune import methods  # PyTorch takes seconds to import
    from src.finetune.batches import Data
    from src.records.finetune import Trainings

    weights = files.read_tensors(paths.weights(backbone))
    config = settings.finetune.model_copy(update=dict(best)).at(weights[1]["arch"])
    by_seed: dict[str, dict[str, Training]] = {}
    for seed in settings.seeds:
        setup = methods.Setup(
            data=Data.of(raw, files.read_arrays(paths.subset(seed)), config.watch),
            weights=weights,
            classes=files.read_json(paths.CLASSES),
            image_size=settings.image_size,
            normalisation=settings.normalisation,
            seed=seed,
            accelerator=accelerator,
            config=config,
        )
        # DVC's plots show the curves of the first seed; the record has those of all.
        where = curves if seed == settings.seeds[0] else paths.of_seed(curves, seed)
        folder = paths.of_seed(paths.checkpoints(backbone), seed)
        by_seed[str(seed)] = methods.finetune(folder, where, setup, state_file=state, end=end)
    return Trainings(seeds=by_seed) if accelerator.is_main_process else None


def main(settings: Settings, backbone: str) -> None:
    stage = f"finetune_{backbone}"
    curves = paths.plots(stage)
    if backbone == "convnext" and not settings.controls:
        files.write_empty(paths.checkpoints(backbone), curves, paths.record(stage), paths.metrics(stage))
        return
    from src.device import runtime

    accelerator = start(settings)
    machine = runtime.machine(accelerator)
    best, end = files.read_best(paths.BEST_PARAMS, backbone), kept_end(stage, settings, machine)
    with saved_state(stage, settings, machine) as state:
        if accelerator.is_main_process:
            files.empty_folder(curves)
        raw = raw_images(accelerator.device)
        if trainings := trained(settings, backbone, raw, curves, best, accelerator, state, end):
            files.write_json(paths.metrics(stage), {stage: trainings.numbers()})
            files.write_record(paths.record(stage), trainings)


if __name__ == "__main__":
    run(main, ROLES)
