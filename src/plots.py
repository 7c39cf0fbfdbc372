"""Numbers of one arm in, matplotlib Figure out; never saves. For `eval_*`, and what every picture shares."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

# Okabe and Ito's palette, told apart by people with any colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MOST_NAMES = 20  # classes; beyond it names and cell values would overlap


def plain(text: str) -> str:
    """Text of which matplotlib takes no dollar sign for mathematics."""
    return text.replace("$", r"\$")


def short(name: str) -> str:
    """A class name as a label of at most 24 characters."""
    return plain(name if len(name) <= 24 else name[:23] + "…")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curves(history: Sequence[Mapping[str, float]], best: int, title: str) -> Figure:
    """Loss and accuracy by epoch, training and validation together.

    Args:
        history: for each epoch `number`, `train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`.
        best: the number of the epoch that was kept.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(plain(title))
    epochs = [epoch["number"] for epoch in history]
    for axes, kind, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy, nats", "accuracy"), strict=True
    ):
        train, val = ([epoch[f"{part}_{kind}"] for epoch in history] for part in ("train", "val"))
        axes.plot(epochs, train, "o--", color=COLOURS[0], label="training")
        axes.plot(epochs, val, "o-", color=COLOURS[1], label="validation")
        axes.axvline(best, color="0.6", linewidth=1, linestyle=":", label=f"kept: epoch {best}")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(frameon=False)
    return figure


def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix (K, K): each row the share of that class's images, its counts' percentages in the cells."""
    size = len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.45 * min(size, MOST_NAMES)
    figure, axes = _figure(side + 0.8, side)
    picture = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    axes.set(title=plain(title), xlabel="predicted", ylabel="actual")
    figure.colorbar(picture, ax=axes, shrink=0.8, format=PercentFormatter(1))
    if size > MOST_NAMES:
        return figure
    names = [short(name) for name in classes]
    axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    for row, column in np.ndindex(size, size):
        if counts[row, column]:
            dark = share[row, column] > 0.5
            axes.text(
                column,
                row,
                f"{share[row, column]:.0%}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=8,
            )
    return figure
