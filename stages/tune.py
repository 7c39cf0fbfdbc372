"""The learning rate of each backbone, searched under the first seed; nothing to do if `tune.configurations` is 1."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.core import design
from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import raw_images, run, saved_state, start

if TYPE_CHECKING:
    from accelerate import Accelerator

    from src.device.prefetch import Images
    from src.records.tune import SearchSummary
    from src.storage.resume import StateFile


def searched(
    settings: Settings,
    backbone: str,
    name: str,
    raw: "Mapping[str, Images]",
    accelerator: "Accelerator",
    state: "StateFile",
) -> "SearchSummary":
    """The search of one backbone, which is called `name` for people.

    Args:
        raw: see `stages.raw_images`.
    """
    from src.finetune.batches import Data  # PyTorch takes seconds to import
    from src.tune.search import SearchSetup, said, search, summary

    seed = settings.seeds[0]
    setup = SearchSetup(
        weights=files.read_tensors(paths.weights(backbone)),
        classes=files.read_json(paths.CLASSES),
        image_size=settings.image_size,
        normalisation=settings.normalisation,
        seed=seed,
        # Whatever the images that are watched while fine-tuning: test images are not there to choose by.
        data=Data.of(raw, files.read_arrays(paths.subset(seed)), "validation"),
        accelerator=accelerator,
        config=settings.finetune,
        name=name,
    )
    found = summary(setup, search(setup, state, settings.tune.configurations))
    print(said(name, found), flush=True)
    return found


def main(settings: Settings) -> None:
    if settings.tune.configurations == 1:
        plots = paths.plots("tune")
        files.write_empty(paths.BEST_PARAMS, plots, paths.pictures(plots), paths.record("tune"), paths.metrics("tune"))
        return
    from src.device import runtime
    from src.records.tune import SearchSummaries
    from src.tune import results

    accelerator = start(settings)
    roles = ROLES if settings.controls else ROLES[:1]
    names = design.display_names({role: files.read_tensors(paths.weights(role))[1]["arch"] for role in roles})
    with saved_state("tune", settings, runtime.machine(accelerator)) as state:
        raw = raw_images(accelerator.device)
        searches = {role: searched(settings, role, names[role], raw, accelerator, state.part(role)) for role in roles}
        files.write_best(paths.BEST_PARAMS, {role: {"lr": found.lr} for role, found in searches.items()})
        results.write_plots(paths.plots("tune"), searches, names)
        summaries = SearchSummaries(backbones=searches, environment=runtime.environment(accelerator))
        files.write_json(paths.metrics("tune"), {"tune": summaries.numbers()})
        files.write_record(paths.record("tune"), summaries)


if __name__ == "__main__":
    run(main)
