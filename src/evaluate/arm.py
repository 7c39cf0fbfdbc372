"""What is saved of one arm: its predictions, tables and figures; and its scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.plotting import COLOURS, MOST_NAMES, plain, short
from src.records.evaluate import ClassScores, Scores
from src.stats import calibration, scores
from src.storage import files, paths


@dataclass(frozen=True)
class Predictions:
    """An arm's logits (N, K) of the test images, their labels (N,), and their positions (N,) in the raw array.

    Of the images that were watched in training the logits (n, K) and labels (n,): validation images, or none, or the
    test images as `Finetune.watch` says.
    """

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    val_logits: np.ndarray
    val_labels: np.ndarray


def write_figures(
    figures: Path, name: str, title: str, by_seed: Sequence[Predictions], scored: Scores, classes: list[str]
) -> None:
    """Save what DVC's plots and people see of one arm, over all its seeds.

    Args:
        figures: the folder that gets confusion/<name>.csv and per_class/<name>.csv; its pictures get
            confusion_<name>.png.
        scored: the mean over seeds.
    """
    pairs = Counter(pair for one in by_seed for pair in zip(one.labels, one.logits.argmax(1), strict=True))
    rows = ((classes[actual], classes[predicted], images) for (actual, predicted), images in sorted(pairs.items()))
    files.write_table(figures / "confusion" / f"{name}.csv", ("actual", "predicted", "images"), rows)
    recall = ((row.name, row.recall) for row in scored.per_class)
    files.write_table(figures / "per_class" / f"{name}.csv", ("class", "accuracy"), recall)
    figure = confusion(np.array(scored.confusion), classes, title)
    files.write_figure(paths.pictures(figures) / f"confusion_{name}.png", figure)


def score(predictions: Predictions, classes: list[str], *, calibrate: bool = True) -> Scores:
    """How good an arm's predictions are, and how far their confidence can be trusted.

    Args:
        calibrate: whether the watched images are validation images, on which a temperature may be fitted.
    """
    test = predictions.logits, predictions.labels
    watched = predictions.val_logits, predictions.val_labels
    summary = scores.summary(*test, classes)
    summary |= calibration.summary(*test, *(part[: len(part) if calibrate else 0] for part in watched))
    summary["per_class"] = [ClassScores(name=row.pop("class"), **row) for row in summary["per_class"]]
    return Scores(**summary, val_accuracy=scores.accuracy(*watched) if len(watched[1]) else None)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


WATCHED = {"validation": "validation", "test": "test images", "augmented_test": "augmented test images"}


def curves(histories: Sequence[Sequence[Mapping[str, float]]], watch: str, title: str) -> Figure:
    """Loss and accuracy by epoch, of the training and the watched images: a line for each seed.

    Args:
        histories: by seed, for each epoch `number`, `train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`.
        watch: see `Finetune.watch`.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(plain(title))
    for axes, kind, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy, nats", "accuracy"), strict=True
    ):
        for number, history in enumerate(histories):
            epochs = [epoch["number"] for epoch in history]
            for part, words, style, colour in (("train", "training", "o--", 0), ("val", WATCHED[watch], "o-", 1)):
                values = [epoch[f"{part}_{kind}"] for epoch in history]
                named = {} if number else {"label": words}
                axes.plot(epochs, values, style, color=COLOURS[colour], alpha=0.8, markersize=4, **named)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(frameon=False)
    return figure


def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix (K, K) of counts, drawn as each cell's share of its row: the images of the actual class."""
    size = len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.45 * min(size, MOST_NAMES)
    figure, axes = _figure(side + 0.8, side)
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    axes.set(title=plain(title), xlabel="predicted", ylabel="actual")
    figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1))
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
