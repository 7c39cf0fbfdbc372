"""The trials of a search as tables and as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.plotting import CELL_COLOURS, MARKERS, legend_below, plain
from src.records.tune import SearchSummary
from src.storage import files, paths

COLUMNS = ("number", "lr", "val_accuracy", "val_loss", "epochs", "images", "train_macs")

Searches = Mapping[str, SearchSummary]  # by role


def write_plots(folder: Path, searches: Searches, names: Mapping[str, str]) -> None:
    """Write every search as a table, and the figure, into emptied folders.

    Args:
        names: of the backbones for people, by role.
    """
    pictures = paths.pictures(folder)
    files.empty_folder(folder)
    for role, found in searches.items():
        files.write_table(folder / f"trials_{role}.csv", COLUMNS, rows(found))
    files.empty_folder(pictures)
    files.write_figure(pictures / "learning_rate.png", by_rate(searches, names))


def rows(found: SearchSummary) -> list[list[Any]]:
    """A search as a table of COLUMNS, without seconds, which differ from run to run."""
    return [
        [
            *(number, trial.lr, trial.val_accuracy, trial.val_loss),
            *(len(trial.accuracies), trial.images, trial.train_macs),
        ]
        for number, trial in enumerate(found.trials, 1)
    ]


def by_rate(searches: Searches, names: Mapping[str, str]) -> Figure:
    """Validation accuracy against the learning rate; the chosen one has a ring, one that diverged is a cross."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for role, found in searches.items():
        colour = CELL_COLOURS[f"{role}.finetuned"]
        ended = sorted((trial.lr, trial.val_accuracy) for trial in found.trials if trial.val_accuracy is not None)
        label = plain(names[role]) + (": the best is at the edge of the grid" if found.at_edge else "")
        axes.plot(*zip(*ended, strict=True), color=colour, marker=MARKERS[role], label=label)
        axes.plot(found.lr, found.val_accuracy, "o", mfc="none", mec=colour, markersize=13)
        lowest = min(accuracy for _, accuracy in ended)
        lost = [trial.lr for trial in found.trials if trial.diverged]
        axes.plot(
            lost,
            [lowest] * len(lost),
            "x",
            color=colour,
            label=f"{plain(names[role])}: the loss was no number" if lost else None,
        )
        axes.axvline(found.trials[0].lr, color=colour, linewidth=1, linestyle=":")
    images = next(iter(searches.values())).val_images
    axes.set(
        xscale="log",
        xlabel="learning rate (dotted: centre of the grid; ring: chosen)",
        ylabel=f"accuracy on {images:,} validation images",
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure)
    return figure
