"""The learning rate and weight decay of each backbone, searched on validation images: off unless `tune.enabled`."""

from src import files
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    if not settings.tune.enabled:
        files.write_nothing(files.BEST_PARAMS, files.TUNE_PLOTS, files.TUNE_METRICS)
        return
    from src import resuming, runtime, tuned, tuning, tuning_results  # PyTorch takes seconds to import

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    weights = {"resnet": files.read_tensors(files.RESNET_WEIGHTS)}
    if settings.controls:
        weights["convnext"] = files.read_tensors(files.CONVNEXT_WEIGHTS)
    with resuming.place("tune", settings, runtime.machine(accelerator)) as place:
        searches = tuning.searches(
            weights,
            classes=files.read_json(files.SUBSET / "classes.json"),
            raw=files.read_array(files.RAW / "train_images.npy"),
            subset=files.read_arrays(files.SUBSET / "subset.npz"),
            image_size=settings.image_size,
            seed=settings.seed,
            accelerator=accelerator,
            method=settings.finetune.methods[0],
            recipe=settings.finetune.recipe(),
            budget=settings.tune.model_dump(exclude={"enabled"}),
            place=place,
        )
        tuned.write_best(files.BEST_PARAMS, {role: search.best.params for role, search in searches.items()})
        tuning_results.write_plots(files.TUNE_PLOTS, searches)
        report = tuning_results.summary(searches) | {"environment": runtime.environment(accelerator)}
        files.write_json(files.TUNE_METRICS, {"tune": report})


if __name__ == "__main__":
    run(main)
