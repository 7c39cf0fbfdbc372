"""Fine-tune one backbone by every method; the best epoch by validation is kept. Stages finetune_resnet, _convnext."""

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

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    machine = runtime.machine(accelerator)
    with saved_state(stage, settings, machine) as state:
        raw = files.read_array(paths.RAW / "train_images.npy")
        setup = methods.Setup(
            data=Data.of(raw, files.read_arrays(paths.SUBSET / "subset.npz"), accelerator.device),
            weights=files.read_tensors(paths.weights(backbone)),
            classes=files.read_json(paths.SUBSET / "classes.json"),
            image_size=settings.image_size,
            seed=settings.seed,
            accelerator=accelerator,
            config=settings.finetune.model_copy(update=files.read_best(paths.BEST_PARAMS, backbone)),
        )
        end = kept_end(stage, settings, machine)
        trainings = methods.finetune(checkpoints, curves, setup, state_file=state, end=end)
        if accelerator.is_main_process:
            numbers = {method: training.numbers() for method, training in trainings.methods.items()}
            files.write_json(paths.metrics(stage), {stage: numbers})
            files.write_record(paths.record(stage), trainings)


if __name__ == "__main__":
    run(main, ROLES)
