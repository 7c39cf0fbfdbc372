"""Fine-tune one backbone under every seed and by every method. Stages finetune_resnet, finetune_convnext."""

from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import kept_end, run, saved_state


def main(settings: Settings, backbone: str) -> None:
    stage = f"finetune_{backbone}"
    checkpoints, curves = paths.checkpoints(backbone), paths.plots(stage)
    if backbone == "convnext" and not settings.controls:
        files.write_empty(checkpoints, curves, paths.record(stage), paths.metrics(stage))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.finetune import methods
    from src.finetune.batches import Data
    from src.records.finetune import Training, Trainings

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    machine = runtime.machine(accelerator)
    raw = {split: files.read_array(paths.RAW / f"{split}_images.npy") for split in ("train", "test")}
    weights = files.read_tensors(paths.weights(backbone))
    chosen = settings.finetune.model_copy(update=files.read_best(paths.BEST_PARAMS, backbone))
    by_seed: dict[str, dict[str, Training]] = {}
    with saved_state(stage, settings, machine) as state:
        if accelerator.is_main_process:
            files.empty_folder(curves)
        for seed in settings.seeds:
            subset = files.read_arrays(paths.subset(seed))
            setup = methods.Setup(
                data=Data.of(raw, subset, chosen.watch, accelerator.device),
                weights=weights,
                classes=files.read_json(paths.CLASSES),
                image_size=settings.image_size,
                normalisation=settings.normalisation,
                seed=seed,
                accelerator=accelerator,
                config=chosen.at(weights[1]["arch"]),
            )
            by_seed[str(seed)] = methods.finetune(
                paths.of_seed(checkpoints, seed),
                # DVC's plots show the curves of the first seed; the record has those of all.
                curves if seed == settings.seeds[0] else paths.of_seed(curves, seed),
                setup,
                state_file=state,
                end=kept_end(stage, settings, machine),
            )
        if accelerator.is_main_process:
            trainings = Trainings(seeds=by_seed)
            numbers = {method: training.numbers() for method, training in trainings.methods.items()}
            files.write_json(paths.metrics(stage), {stage: numbers})
            files.write_record(paths.record(stage), trainings)


if __name__ == "__main__":
    run(main, ROLES)
