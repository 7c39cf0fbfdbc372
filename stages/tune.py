"""The learning rate of each backbone, searched under the first seed; nothing to do if `tune.configurations` is 1."""

from src.core import design
from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, saved_state


def main(settings: Settings) -> None:
    if settings.tune.configurations == 1:
        files.write_empty(paths.BEST_PARAMS, paths.plots("tune"), paths.record("tune"), paths.metrics("tune"))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.finetune.batches import Data
    from src.records.tune import SearchSummaries
    from src.tune import results
    from src.tune.search import SearchSetup, said, search, summary

    accelerator = runtime.start(settings.device, settings.precision, deterministic=settings.deterministic)
    weights = {role: files.read_tensors(paths.weights(role)) for role in (ROLES if settings.controls else ROLES[:1])}
    names = design.display_names({role: origin["arch"] for role, (_, origin) in weights.items()})
    seed = settings.seeds[0]
    # Whatever the images that are watched while fine-tuning: test images are not there to choose by.
    raw = {split: files.read_array(paths.RAW / f"{split}_images.npy") for split in ("train", "test")}
    data = Data.of(raw, files.read_arrays(paths.subset(seed)), "validation", accelerator.device)
    with saved_state("tune", settings, runtime.machine(accelerator)) as state_file:
        searches = {}
        for role, loaded in weights.items():
            setup = SearchSetup(
                weights=loaded,
                classes=files.read_json(paths.CLASSES),
                image_size=settings.image_size,
                normalisation=settings.normalisation,
                seed=seed,
                data=data,
                accelerator=accelerator,
                config=settings.finetune,
                name=names[role],
            )
            trials = search(setup, state_file.part(role), settings.tune.configurations)
            searches[role] = summary(setup, trials)
            print(said(names[role], searches[role]), flush=True)
        files.write_best(paths.BEST_PARAMS, {role: {"lr": found.lr} for role, found in searches.items()})
        results.write_plots(paths.plots("tune"), searches, names)
        files.write_json(paths.metrics("tune"), {"tune": {role: found.numbers() for role, found in searches.items()}})
        files.write_record(
            paths.record("tune"), SearchSummaries(backbones=searches, environment=runtime.environment(accelerator))
        )


if __name__ == "__main__":
    run(main)
