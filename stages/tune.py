"""The learning rate and weight decay of each backbone, searched on validation images: off unless `tune.enabled`."""

from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, saved_state


def main(settings: Settings) -> None:
    if not settings.tune.enabled:
        files.write_empty(paths.BEST_PARAMS, paths.plots("tune"), paths.metrics("tune"))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.tune import results, search

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    weights = {"resnet": files.read_tensors(paths.weights("resnet"))}
    if settings.controls:
        weights["convnext"] = files.read_tensors(paths.weights("convnext"))
    with saved_state("tune", settings, runtime.machine(accelerator)) as state:
        found = search.searches(
            weights,
            classes=files.read_json(paths.SUBSET / "classes.json"),
            raw=files.read_array(paths.RAW / "train_images.npy"),
            subset=files.read_arrays(paths.SUBSET / "subset.npz"),
            image_size=settings.image_size,
            seed=settings.seed,
            accelerator=accelerator,
            config=settings.finetune,
            tune=settings.tune,
            state_file=state,
        )
        files.write_best(paths.BEST_PARAMS, {role: one.best.params for role, one in found.items()})
        results.write_plots(paths.plots("tune"), found)
        report = results.summary(found) | {"environment": runtime.environment(accelerator)}
        files.write_json(paths.metrics("tune"), {"tune": report})


if __name__ == "__main__":
    run(main)
