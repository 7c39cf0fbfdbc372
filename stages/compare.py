"""All arms on the same test images: intervals, tests and effects, the report's own bar chart, and a verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.compare import figures, results
from src.core import design, seeds
from src.core.design import CELLS, QUESTION
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run

Unavailable = list[dict[str, str]]


def read_cell(
    cell: str, adaptations: Sequence[str], archs: Mapping[str, str]
) -> tuple[dict[str, results.Arm], Unavailable]:
    """A cell's arms by name, exactly those that the settings name, and which of them are unavailable, and why."""
    role = cell.split(".")[0]
    measured = files.read_json(paths.metrics(paths.cell_name(cell)))[role]
    why = {row["readout"]: row["why"] for row in measured.get("unavailable", [])}
    found = {}
    for adaptation in adaptations:
        if adaptation not in why:
            name = f"{role}.{adaptation}"
            saved = files.read_arrays(paths.predictions(cell) / f"{adaptation}.npz")
            title = design.title(name, design.display_names(archs)[role])
            found[name] = results.Arm(title, saved["logits"], saved["labels"], saved["index"], measured[adaptation])
    return found, [{"arm": f"{role}.{readout}", "why": reason} for readout, reason in why.items()]


def read_arms(settings: Settings) -> tuple[dict[str, results.Arm], Unavailable]:
    """The arms of every cell that was run, backbone by backbone."""
    archs = {"resnet": settings.resnet.arch, "convnext": settings.convnext.arch}
    methods, readouts = settings.finetune.methods, settings.frozen.readouts
    cells = [
        read_cell(cell, methods if cell.endswith("finetuned") else readouts, archs)
        for cell in (CELLS if settings.controls else QUESTION)
    ]
    found = {name: arm for part, _ in cells for name, arm in part.items()}
    results.require_same_images(found)
    return found, [row for _, part in cells for row in part]


def write_tables(folder: Path, result: Mapping[str, Any]) -> None:
    """What DVC draws."""
    for name, (columns, rows) in results.tables(result).items():
        files.write_table(folder / f"{name}.csv", columns, rows)


def write_pictures(folder: Path, found: Mapping[str, results.Arm], result: Mapping[str, Any]) -> None:
    """What people look at."""
    for name, figure in figures.all_figures(found, result).items():
        files.write_figure(folder / f"{name}.png", figure)


def train_images(settings: Settings) -> list[int]:
    """Of each class, where the settings have them differ in size."""
    if settings.prepare.imbalance == "none":
        return []
    return np.bincount(files.read_arrays(paths.SUBSET / "subset.npz")["train_labels"]).tolist()


def main(settings: Settings) -> None:
    found, unavailable = read_arms(settings)
    result = results.report(
        found,
        files.read_json(paths.SUBSET / "classes.json"),
        unavailable,
        base_classes=settings.compare.base_classes,
        confidence=settings.compare.confidence,
        resamples=settings.compare.resamples,
        seed=seeds.derive(settings.seed, "bootstrap"),
        train_images=train_images(settings),
    )
    files.write_json(paths.metrics("compare"), {"compare": result})
    files.empty_folder(paths.plots("compare"))  # no picture of an earlier setting may stay
    write_tables(paths.plots("compare"), result)
    write_pictures(paths.plots("compare"), found, result)
    print(results.render(result))


if __name__ == "__main__":
    run(main)
