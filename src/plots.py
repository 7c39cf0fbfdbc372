"""Numbers in, matplotlib Figure out; never saves. For the stages that draw PNG files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

if TYPE_CHECKING:
    from src.compare import Interval

# Okabe and Ito's palette, told apart by people with any colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MOST_NAMES = 20  # classes; beyond it names and cell values would overlap


def _plain(text: str) -> str:
    """Text of which matplotlib takes no dollar sign for mathematics."""
    return text.replace("$", r"\$")


def _short(name: str) -> str:
    """A class name as a label of at most 24 characters."""
    return _plain(name if len(name) <= 24 else name[:23] + "…")


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
    figure.suptitle(_plain(title))
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
    axes.set(title=_plain(title), xlabel="predicted", ylabel="actual")
    figure.colorbar(picture, ax=axes, shrink=0.8, format=PercentFormatter(1))
    if size > MOST_NAMES:
        return figure
    names = [_short(name) for name in classes]
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


def accuracies(arms: Mapping[str, "Interval"], title: str, chance: float) -> Figure:
    """One bar for each arm with its interval, and a line where guessing would stand."""
    figure, axes = _figure(8, 1.4 + 0.55 * len(arms))
    for position, found in enumerate(arms.values()):
        spread = [[found.value - found.low], [found.high - found.value]]
        axes.barh(position, found.value, xerr=spread, color=COLOURS[position % len(COLOURS)], height=0.6, capsize=3)
        axes.text(min(found.high, 1) + 0.015, position, f"{found.value:.1%}", va="center")
    axes.axvline(chance, color="0.4", linestyle=":", linewidth=1)
    axes.text(chance, len(arms) - 0.55, " chance", color="0.4", fontsize=8, va="center")
    axes.set_yticks(range(len(arms)), [_plain(name) for name in arms])
    axes.set(title=_plain(title), xlabel="accuracy on the test images", xlim=(0, 1.15), ylim=(len(arms) - 0.4, -0.5))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def per_class(arms: Mapping[str, np.ndarray], classes: Sequence[str], title: str) -> Figure:
    """The accuracy on each class's images, the arms side by side."""
    figure, axes = _figure(8, 1.6 + 0.16 * len(classes) * (len(arms) + 1))
    height = 0.8 / len(arms)
    rows = np.arange(len(classes))
    for position, (name, values) in enumerate(arms.items()):
        axes.barh(
            rows + (position - (len(arms) - 1) / 2) * height,
            values,
            height,
            label=_plain(name),
            color=COLOURS[position % len(COLOURS)],
        )
    axes.set_yticks(rows, [_short(name) for name in classes])
    axes.invert_yaxis()
    axes.set(title=_plain(title), xlabel="accuracy on the class's test images", xlim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
