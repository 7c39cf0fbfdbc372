"""All arms on the same test images: intervals, tests and effects, the report's own bar chart, and a verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src import arms, files, outcome, seeds
from src import compare_plots as plots
from src.params import Settings
from stages import run

Unavailable = list[dict[str, str]]


def read_cell(
    predictions: Path, metrics: Path, role: str, adaptations: Sequence[str], archs: Mapping[str, str]
) -> tuple[dict[str, outcome.Arm], Unavailable]:
    """A cell's arms by name, exactly those that the settings name, and which of them are unavailable, and why."""
    measured = files.read_json(metrics)[role]
    why = {row["readout"]: row["why"] for row in measured.get("unavailable", [])}
    found = {}
    for adaptation in adaptations:
        if adaptation not in why:
            name = f"{role}.{adaptation}"
            saved = files.read_arrays(predictions / f"{adaptation}.npz")
            title = arms.title(name, arms.called(archs)[role])
            found[name] = outcome.Arm(title, saved["logits"], saved["labels"], saved["index"], measured[adaptation])
    return found, [{"arm": f"{role}.{readout}", "why": reason} for readout, reason in why.items()]


def read_arms(settings: Settings) -> tuple[dict[str, outcome.Arm], Unavailable]:
    """The arms of every cell that was run, backbone by backbone."""
    archs = {"resnet": settings.resnet.arch, "convnext": settings.convnext.arch}
    methods, readouts = settings.finetune.methods, settings.frozen.readouts
    cells = [read_cell(files.RESNET_PREDICTIONS, files.RESNET_METRICS, "resnet", methods, archs)]
    if settings.controls:
        cells += [
            read_cell(files.RESNET_FROZEN_PREDICTIONS, files.RESNET_FROZEN_METRICS, "resnet", readouts, archs),
            read_cell(
                files.CONVNEXT_FINETUNED_PREDICTIONS, files.CONVNEXT_FINETUNED_METRICS, "convnext", methods, archs
            ),
        ]
    cells.append(read_cell(files.CONVNEXT_PREDICTIONS, files.CONVNEXT_METRICS, "convnext", readouts, archs))
    found = {name: arm for part, _ in cells for name, arm in part.items()}
    outcome.require_same_images(found)
    return found, [row for _, part in cells for row in part]


def write_tables(folder: Path, result: Mapping[str, Any]) -> None:
    """What DVC draws."""
    for name, (columns, rows) in outcome.tables(result).items():
        files.write_table(folder / f"{name}.csv", columns, rows)


def write_pictures(folder: Path, found: Mapping[str, outcome.Arm], result: Mapping[str, Any]) -> None:
    """What people look at."""
    for name, figure in plots.pictures(found, result).items():
        files.write_figure(folder / f"{name}.png", figure)


def train_images(settings: Settings) -> list[int]:
    """Of each class, where the settings have them differ in size."""
    if settings.prepare.imbalance == "none":
        return []
    return np.bincount(files.read_arrays(files.SUBSET / "subset.npz")["train_labels"]).tolist()


def main(settings: Settings) -> None:
    found, unavailable = read_arms(settings)
    result = outcome.report(
        found,
        files.read_json(files.SUBSET / "classes.json"),
        unavailable,
        base_classes=settings.compare.base_classes,
        confidence=settings.compare.confidence,
        resamples=settings.compare.resamples,
        seed=seeds.derive(settings.seed, "bootstrap"),
        train_images=train_images(settings),
    )
    files.write_json(files.COMPARE_METRICS, {"compare": result})
    files.write_folder(files.COMPARE_PLOTS)  # no picture of an earlier setting may stay
    write_tables(files.COMPARE_PLOTS, result)
    write_pictures(files.COMPARE_PLOTS, found, result)
    print(outcome.render(result))


if __name__ == "__main__":
    run(main)
