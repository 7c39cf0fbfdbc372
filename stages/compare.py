"""All arms on the same test images under every seed: the question, the effects, the base classes, and a verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.compare import budget, figures, results
from src.compare.results import Arm
from src.core import design
from src.core.design import CELLS, QUESTION
from src.records.backbones import FurtherBackbones
from src.records.evaluate import Evaluations
from src.records.tune import SearchSummaries
from src.settings import backbones
from src.settings.settings import Settings
from src.storage import files, paths, raw
from stages import run


def read_cell(
    cell: str, name: str, evaluations: Evaluations, adaptations: Sequence[str], seeds: Sequence[int]
) -> tuple[dict[str, Arm], dict[str, str]]:
    """A cell's arms, exactly those that the settings name; and why each that is missing is unavailable.

    Args:
        name: of the backbone, for people.
    """
    backbone = cell.split(".")[0]
    folders = [paths.of_seed(paths.predictions(cell), seed) for seed in seeds]
    arms = {}
    for adaptation in adaptations:
        if adaptation not in evaluations.unavailable:
            saved = [files.read_arrays(folder / f"{adaptation}.npz") for folder in folders]
            logits = np.stack([part["logits"] for part in saved])
            each = [evaluations.seeds[str(seed)][adaptation] for seed in seeds]
            arm = f"{backbone}.{adaptation}"
            arms[arm] = Arm(design.title(arm, name), logits, saved[0]["labels"], saved[0]["index"], each)
    return arms, {f"{backbone}.{readout}": why for readout, why in evaluations.unavailable.items()}


def read_arms(settings: Settings) -> tuple[dict[str, Arm], dict[str, str]]:
    """The arms of every cell that was run, backbone by backbone; and why each that is missing is unavailable."""
    names = design.display_names({"resnet": settings.resnet.arch, "convnext": settings.convnext.arch})
    arms: dict[str, Arm] = {}
    unavailable: dict[str, str] = {}
    for cell in CELLS if settings.controls else QUESTION:
        evaluations = files.read_record(paths.record(paths.cell_name(cell)), Evaluations)
        name = names[cell.split(".")[0]]
        some, why = read_cell(cell, name, evaluations, adaptations(settings, cell), settings.seeds)
        arms |= some
        unavailable |= why
    results.require_same_images(arms)
    return arms, unavailable


def adaptations(settings: Settings, cell: str) -> Sequence[str]:
    """Those that the settings name for a cell's column."""
    return settings.finetune.methods if cell.endswith("finetuned") else settings.frozen.readouts


def read_listed(settings: Settings, roles: results.Arms) -> results.Listed | None:
    """All arms of the backbones of the list, those of `roles` for its entries; None without a list and contrasts."""
    if settings.backbones is None and not settings.compare.contrasts:
        return None
    listed = backbones.listed(settings.backbones, settings.resnet, settings.convnext)
    names = {each: backbone.name for each, backbone in listed.items()}
    arms = {name: arm for name, arm in roles.items() if design.split(name)[0] in names}
    further = [each for each in names if each not in design.ROLES]
    record = files.read_record(paths.record(paths.FURTHER), FurtherBackbones) if further else FurtherBackbones()
    for each in further:
        found = record.backbones[each]
        for column, evaluations in (("finetuned", found.finetuned), ("frozen", found.frozen)):
            cell = f"{each}.{column}"
            arms |= read_cell(cell, names[each], evaluations, adaptations(settings, cell), settings.seeds)[0]
    results.require_same_images(dict(roles) | arms)
    return results.Listed(names, arms)


def train_images(settings: Settings) -> list[int]:
    """The training images of each class, where the settings make classes differ in size; the same under every seed."""
    if settings.prepare.imbalance == "none":
        return []
    return np.bincount(files.read_arrays(paths.subset(settings.seeds[0]))["train_labels"]).tolist()


def write_budget(settings: Settings, folder: Path, titles: Mapping[str, str]) -> None:
    """Write the accuracy against the number of configurations, as a table for each cell and a figure, if any was tried.

    Args:
        titles: of the arms.
    """
    tuned = files.read_record(paths.record("tune"), SearchSummaries)
    cells = {cell: files.read_record(paths.record(paths.cell_name(cell)), Evaluations) for cell in CELLS}
    tried = budget.tried(tuned, cells, settings.finetune.methods[0], settings.seeds[0])
    curves = {arm: budget.expected_best(accuracies) for arm, accuracies in tried.items()}
    for arm, curve in curves.items():
        name = f"budget_{paths.cell_name(design.cell(arm))}"
        files.write_table(folder / f"{name}.csv", budget.COLUMNS, list(enumerate(curve, 1)))
    if curves:
        images = len(files.read_arrays(paths.subset(settings.seeds[0]))["val_labels"])
        files.write_figure(paths.pictures(folder) / "budget.png", budget.figure(curves, titles, images))


def main(settings: Settings) -> None:
    arms, unavailable = read_arms(settings)
    comparison = results.report(
        arms,
        settings.seeds,
        files.read_json(paths.CLASSES),
        unavailable,
        settings.compare,
        validated=settings.finetune.watch == "validation",
        train_images=train_images(settings),
        listed=read_listed(settings, arms),
        repeated=raw.duplicates()["test"],
    )
    files.write_json(paths.metrics("compare"), {"compare": comparison.numbers()})
    files.write_record(paths.record("compare"), comparison)
    folder = paths.plots("compare")
    files.empty_folder(folder)  # nothing of an earlier setting may stay
    for name, (columns, rows) in results.tables(comparison).items():
        files.write_table(folder / f"{name}.csv", columns, rows)
    files.empty_folder(paths.pictures(folder))
    for name, figure in figures.all_figures(arms, comparison).items():
        files.write_figure(paths.pictures(folder) / f"{name}.png", figure)
    write_budget(settings, folder, {arm.arm: arm.title for arm in comparison.arms})
    print(results.render(comparison))


if __name__ == "__main__":
    run(main)
