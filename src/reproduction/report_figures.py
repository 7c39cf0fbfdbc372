"""The report's five figures drawn again: our runs, the band of one further run, the published values; never saved."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from src.plotting import CELL_COLOURS, COLOURS, plain
from src.reproduction.published import Published
from src.reproduction.report import Row, Run, bands

TITLES = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss (augmented test images)",
    "val_accuracy": "validation accuracy (augmented test images)",
}
PUBLISHED: dict[str, Any] = {
    "color": "black",
    "marker": "_",
    "markersize": 13,
    "markeredgewidth": 2,
    "linestyle": "none",
}


def curve(name: str, runs: Sequence[Run], published: Published, confidence: float) -> Figure:
    """One curve by epoch, a panel for each number of classes."""
    figure = Figure(figsize=(3.7 * len(runs), 3.9), layout="constrained")
    figure.suptitle(TITLES[name])
    for position, (axes, run) in enumerate(zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True)):
        values, colour = run.curves[name], COLOURS[position % len(COLOURS)]
        epochs = np.arange(1, values.shape[1] + 1)
        around = bands(run, name, confidence)
        lowest, highest = [band.low for band in around], [band.high for band in around]
        axes.fill_between(epochs, lowest, highest, color=colour, alpha=0.18, linewidth=0)
        axes.plot(epochs, values.T, color=colour, linewidth=1, marker="o", markersize=2.5)
        theirs = published.curves[name][run.k][: len(epochs)]
        axes.plot(epochs[: len(theirs)], theirs, **PUBLISHED)
        axes.set(title=f"{run.k} classes", xlabel="epoch", xticks=epochs)
        axes.spines[["top", "right"]].set_visible(False)
        if name.endswith("accuracy"):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        else:
            axes.set_ylim(bottom=0)
    axes.figure.axes[0].set_ylabel("cross-entropy, nats" if name.endswith("loss") else "accuracy")
    _legend(figure, runs, confidence)
    return figure


def bars(rows: Sequence[Row], runs: Sequence[Run], confidence: float) -> Figure:
    """The bar chart: every network and the untrained head on the plain test images of the first two classes."""
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    figure.suptitle("plain test images of the first two classes, all outputs competing")
    axes = figure.subplots()
    settings = runs[0].settings
    for position, row in enumerate(rows):
        last = position == len(rows) - 1
        _bar(axes, position, row, CELL_COLOURS["convnext.frozen" if last else "resnet.finetuned"])
    names = [f"{settings.resnet.arch}\n{row.k} classes" for row in rows[:-1]]
    names.append(f"{settings.convnext.arch}\nuntrained head")
    axes.set_xticks(range(len(rows)), [plain(name) for name in names])
    axes.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.08), ylabel="accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, runs, confidence)
    return figure


def _bar(axes: Axes, position: int, row: Row, colour: str) -> None:
    axes.bar(position, row.one.mean, width=0.6, color=colour, alpha=0.55)
    low, high = max(row.one.low, 0), min(row.one.high, 1)
    axes.fill_between([position - 0.22, position + 0.22], low, high, color=colour, alpha=0.35, linewidth=0)
    spread = np.linspace(-0.15, 0.15, len(row.values))
    axes.plot(position + spread, row.values, color=colour, marker="o", markersize=4, linestyle="none")
    axes.plot(position, row.published, **PUBLISHED | {"markersize": 34})


def _legend(figure: Figure, runs: Sequence[Run], confidence: float) -> None:
    counts = sorted({len(run.settings.seeds) for run in runs})
    seeds = " to ".join(map(str, counts))
    handles = [
        Line2D([], [], label="published", **PUBLISHED),
        Line2D([], [], color="0.4", marker="o", markersize=4, linewidth=1, label=f"our {seeds} seeds"),
        Patch(color="0.4", alpha=0.25, label=f"one further run, {100 * confidence:g} %"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
