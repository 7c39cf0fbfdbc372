"""The backbones of the list that are neither role, one after the other: frozen and fine-tuned, as the roles are.

Each goes through the functions of the stages embed_*, tune, finetune_* and eval_*. An interrupted run resumes with the
features, trials and trainings that it had.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.core.errors import UserError
from src.settings.backbones import Backbone, further
from src.settings.settings import Settings
from src.storage import files, paths
from stages import raw_images, run, saved_state, start
from stages.embed import embedded
from stages.evaluate import finetuned, frozen
from stages.finetune import trained
from stages.tune import searched

if TYPE_CHECKING:
    from src.device.prefetch import Images
    from src.records.backbones import FurtherBackbone
    from src.records.tune import SearchSummary
    from src.storage.resume import StateFile

STAGE = paths.FURTHER


def main(settings: Settings) -> None:
    backbones = further(settings.backbones, settings.resnet, settings.convnext)
    predictions, plots = paths.DATA / "predictions" / STAGE, paths.plots(STAGE)
    folders = [paths.DATA / "features" / STAGE, paths.DATA / "checkpoints" / STAGE, predictions, plots]
    if not backbones:
        files.write_empty(*folders, paths.record(STAGE), paths.metrics(STAGE))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.records.backbones import FurtherBackbones

    accelerator = start(settings)
    machine, raw = runtime.machine(accelerator), raw_images(accelerator.device)
    if machine["processes"] != 1:
        raise UserError("backbones: further ones are computed in one process; run this stage without torchrun")
    with saved_state(STAGE, settings, machine) as state:
        for folder in folders:
            files.empty_folder(folder)
        done = {name: one(settings, name, each, raw, state.within(name)) for name, each in backbones.items()}
        results = FurtherBackbones(backbones=done)
        files.write_json(paths.metrics(STAGE), {STAGE: results.numbers()})
        files.write_record(paths.record(STAGE), results)


def one(
    settings: Settings, name: str, backbone: Backbone, raw: "Mapping[str, Images]", state: "StateFile"
) -> "FurtherBackbone":
    """All of one backbone: its features and read-outs, its learning rate, its trainings, and their test.

    Args:
        raw: see `stages.raw_images`.
    """
    from src.records.backbones import FurtherBackbone
    from src.storage.resume import StateFile

    print(f"{backbone.name}:", flush=True)
    exact = start(settings, "fp32")
    embedding = embedded(settings, name, exact, state)
    assert embedding is not None  # this is the first process
    of_frozen = frozen(settings, name, embedding)
    accelerator = start(settings)
    search: SearchSummary | None = None
    if settings.tune.configurations > 1:
        search = searched(settings, name, backbone.name, raw, accelerator, state.part("search"))
        write_trials(name, search)
    curves = paths.plots(STAGE) / f"finetune_{name}"
    best = {"lr": search.lr} if search else {}
    trainings = trained(settings, name, raw, curves, best, accelerator, state, StateFile())
    assert trainings is not None
    of_finetuned = finetuned(settings, name, trainings, search)
    return FurtherBackbone(name=backbone.name, search=search, frozen=of_frozen, finetuned=of_finetuned)


def write_trials(name: str, search: "SearchSummary") -> None:
    """Write a search as a table."""
    from src.tune import results

    files.write_table(paths.plots(STAGE) / f"trials_{name}.csv", results.COLUMNS, results.rows(search))


if __name__ == "__main__":
    run(main)
