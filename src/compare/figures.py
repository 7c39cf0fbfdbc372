"""Figures of the comparison of all arms; never saves them."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from src.compare.results import Arm, Arms
from src.core import design
from src.core.records import Interval
from src.plotting import CELL_COLOURS, COLOURS, MARKERS, legend_below, plain, short
from src.records.compare import Comparison, Contrast
from src.stats import calibration, intervals
from src.stats.calibration import Reliability

MOST_BARS = 150  # of classes and arms, and the gaps between, in a picture of 3,900 pixels


def all_figures(arms: Arms, comparison: Comparison) -> dict[str, Figure]:
    """Every figure of the comparison by name: all arms, and in closer detail those of the 2 x 2 table."""
    classes, base, cells = comparison.classes, comparison.base_classes, comparison.cells
    seeds = f"{len(comparison.seeds)} seed{'s'[: len(comparison.seeds) > 1]}"
    title = f"{len(classes)} classes, {seeds}, {comparison.n:,} test images"
    with_intervals = f"{title}, {100 * comparison.confidence:g}% intervals"
    colours = [CELL_COLOURS[design.cell(name)] for name in arms]
    accuracy = {arm.title: arm.accuracy for arm in comparison.arms}
    full, restricted = ({arm.title: getattr(arm, kind) for arm in base.arms} for kind in ("full_head", "restricted"))
    base_title = f"trained on {len(classes)} classes, tested on the first {base.count}"
    shades = [CELL_COLOURS[name] for name in cells]
    chosen = {arms[name].title: arms[name] for name in cells.values()}
    recall = {name: intervals.recall(arm.logits, arm.labels) for name, arm in chosen.items()}
    figures = {
        "question": question(comparison.primary, comparison.margin, with_intervals),
        "arms": accuracies(accuracy, with_intervals, 1 / len(classes), colours),
        "base_classes": base_classes(
            full, restricted, base_title, base=base.count, classes=len(classes), colours=colours
        ),
        "per_class": per_class(recall, classes, title, shades),
        "reliability": reliability({name: _before_and_after(arm) for name, arm in chosen.items()}, title, shades),
    }
    if comparison.by_frequency:
        figures["by_frequency"] = by_frequency(recall, comparison.by_frequency.train_images, title, shades)
    if comparison.backbones:
        figures["backbones"] = _backbones(comparison, with_intervals)
    if comparison.effects:
        figures["table"] = _table(comparison, with_intervals)
    return figures


def _backbones(comparison: Comparison, title: str) -> Figure:
    """Every backbone of the list, frozen and fine-tuned."""
    bars: dict[str, Interval] = {}
    for row in comparison.backbones:
        bars |= {f"{row.name}, frozen": row.frozen, f"{row.name}, fine-tuned": row.finetuned}
    shades = [CELL_COLOURS[f"resnet.{column}"] for column in ("frozen", "finetuned")] * len(comparison.backbones)
    return accuracies(bars, title, 1 / len(comparison.classes), shades)


def _table(comparison: Comparison, title: str) -> Figure:
    by_cell = {cell: comparison.arm(name) for cell, name in comparison.cells.items()}
    names = {role: by_cell[f"{role}.frozen"].title.split(", ")[0] for role in design.ROLES}
    columns = [
        f"{words}\n({design.split(by_cell[f'resnet.{column}'].arm)[1]})"
        for words, column in (("frozen", "frozen"), ("fine-tuned", "finetuned"))
    ]
    return table({cell: arm.accuracy for cell, arm in by_cell.items()}, names, columns, title)


def _before_and_after(arm: Arm) -> tuple[Reliability, Reliability]:
    """Over the answers of all seeds, each divided by its own temperature."""
    temperatures = [evaluation.calibrated.temperature for evaluation in arm.evaluations]
    scaled = arm.logits.astype(np.float64) / np.reshape(temperatures, (-1, 1, 1))
    labels = np.tile(arm.labels, len(arm.logits))
    before, after = (np.concatenate(logits) for logits in (arm.logits, scaled))
    return calibration.reliability(before, labels), calibration.reliability(after, labels)


def question(primary: Contrast, margin: float, title: str) -> Figure:
    """The declared contrast: each seed's own difference, the mean with its interval, and the margin as a band."""
    rows = [f"seed {seed}" for seed in primary.seeds]
    figure = Figure(figsize=(7, 1.9 + 0.28 * len(rows)), layout="constrained")
    figure.suptitle(plain(title))
    axes = figure.subplots()
    axes.axvspan(-100 * margin, 100 * margin, color="0.88", label=f"the margin, {100 * margin:g} on either side of 0")
    axes.axvline(0, color="0.5", linewidth=1)
    values = [100 * value for value in primary.seeds.values()]
    axes.plot(values, range(len(rows)), "o", color=COLOURS[0], clip_on=False)
    low, value, high = (100 * getattr(primary.difference, part) for part in ("low", "value", "high"))
    axes.errorbar(value, len(rows), xerr=[[value - low], [high - value]], fmt="D", color="black", capsize=4)
    axes.set_yticks(range(len(rows) + 1), [*rows, "mean" if len(rows) > 1 else "over images"])
    axes.set(ylim=(len(rows) + 0.5, -0.5), xlabel="difference in accuracy, points")
    axes.set_title(plain("\n".join(textwrap.wrap(primary.title, 70))), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", frameon=False)
    return figure


def _bars(axes: Axes, accuracies: Mapping[str, Interval], colours: Sequence[str], chance: float) -> None:
    """One bar for each arm with its interval and value, the first on top, and a line at chance."""
    for position, (interval, colour) in enumerate(zip(accuracies.values(), colours, strict=True)):
        spread = [[interval.value - interval.low], [interval.high - interval.value]]
        axes.barh(position, interval.value, xerr=spread, color=colour, height=0.6, capsize=3)
        axes.text(min(interval.high, 1) + 0.015, position, f"{interval.value:.1%}", va="center")
    axes.axvline(chance, color="0.4", linestyle=":", linewidth=1)
    axes.text(chance, len(accuracies) - 0.55, " chance", color="0.4", fontsize=8, va="center")
    axes.set_yticks(range(len(accuracies)), [plain(name) for name in accuracies])
    axes.set(xlim=(0, 1.17), ylim=(len(accuracies) - 0.4, -0.5))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)


def accuracies(arms: Mapping[str, Interval], title: str, chance: float, colours: Sequence[str]) -> Figure:
    """The accuracy of every arm, by its name for people, with its interval and the colour of its cell."""
    figure = Figure(figsize=(8, 1.4 + 0.45 * len(arms)), layout="constrained")
    figure.suptitle(plain(title))
    axes = figure.subplots()
    _bars(axes, arms, colours, chance)
    axes.set(xlabel="accuracy on the test images")
    return figure


def base_classes(
    full_head: Mapping[str, Interval],
    restricted: Mapping[str, Interval],
    title: str,
    *,
    base: int,
    classes: int,
    colours: Sequence[str],
) -> Figure:
    """The report's test on the first `base` classes: with all outputs competing, and with theirs alone."""
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(full_head)), layout="constrained")
    figure.suptitle(plain(title))
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, full_head, colours, 1 / classes)
    _bars(right, restricted, colours, 1 / base)
    left.set(title=f"all {classes} outputs compete", xlabel="accuracy")
    right.set(title=f"only these {base} outputs compete", xlabel="accuracy")
    return figure


def per_class(recall: Mapping[str, np.ndarray], classes: Sequence[str], title: str, colours: Sequence[str]) -> Figure:
    """The accuracy on each class's images (K,), the arms side by side; of many classes see `_by_rank`."""
    if len(classes) * (len(recall) + 1) > MOST_BARS:
        return _by_rank(recall, title, colours)
    figure = Figure(figsize=(8, 2 + 0.16 * len(classes) * (len(recall) + 1)), layout="constrained")
    figure.suptitle(plain(title))
    axes = figure.subplots()
    height = 0.8 / len(recall)
    rows = np.arange(len(classes))
    for position, ((name, values), colour) in enumerate(zip(recall.items(), colours, strict=True)):
        offset = (position - (len(recall) - 1) / 2) * height
        axes.barh(rows + offset, values, height, label=plain(name), color=colour)
    axes.set_yticks(rows, [short(name) for name in classes])
    axes.set(xlabel="accuracy on the class's test images", xlim=(0, 1), ylim=(len(classes) - 0.45, -0.55))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure)
    return figure


def _by_rank(recall: Mapping[str, np.ndarray], title: str, colours: Sequence[str]) -> Figure:
    """A line for each arm: the accuracy on its hardest class, on the next, and so on; the names are in the tables."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    figure.suptitle(plain(title))
    axes = figure.subplots()
    for (name, values), colour in zip(recall.items(), colours, strict=True):
        axes.step(range(1, len(values) + 1), np.sort(values), where="mid", label=plain(name), color=colour)
    axes.set(xlabel="classes, from an arm's hardest to its easiest", ylabel="accuracy on the class's test images")
    axes.set(ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def by_frequency(
    recall: Mapping[str, np.ndarray], train_images: Sequence[int], title: str, colours: Sequence[str]
) -> Figure:
    """Recall of each class (K,) against its training images (K,), a colour for each arm; a line joins the means."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    figure.suptitle(plain(title))
    axes = figure.subplots()
    counts = np.asarray(train_images)
    sizes = np.unique(counts)
    for (name, values), colour in zip(recall.items(), colours, strict=True):
        axes.scatter(counts, values, color=colour, alpha=0.6, clip_on=False, zorder=3)
        axes.plot(sizes, [values[counts == size].mean() for size in sizes], color=colour, label=plain(name))
    axes.set(xscale="log", ylim=(0, 1), xlabel="training images of the class", ylabel="accuracy on its test images")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure)
    return figure


def table(accuracy: Mapping[str, Interval], names: Mapping[str, str], columns: Sequence[str], title: str) -> Figure:
    """The 2 x 2 table as lines from frozen to fine-tuned: where they are not parallel, the factors interact.

    Args:
        accuracy: in each cell, `resnet.frozen` and so on.
        names: each backbone's name for people, by its role.
        columns: what the two ticks say, frozen first.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    figure.suptitle(plain(title))
    axes = figure.subplots()
    for shift, (role, name) in zip((-0.02, 0.02), names.items(), strict=True):
        cells = [accuracy[f"{role}.{column}"] for column in ("frozen", "finetuned")]
        values = [cell.value for cell in cells]
        spread = [[cell.value - cell.low for cell in cells], [cell.high - cell.value for cell in cells]]
        positions = np.arange(2) + shift
        axes.errorbar(
            positions,
            values,
            spread,
            color=CELL_COLOURS[f"{role}.finetuned"],
            marker=MARKERS[role],
            capsize=4,
            label=plain(name),
        )
    axes.set_xticks(range(2), [plain(column) for column in columns])
    axes.set(xlim=(-0.3, 1.3), ylabel="accuracy on the test images")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure)
    return figure


def reliability(arms: Mapping[str, tuple[Reliability, Reliability]], title: str, colours: Sequence[str]) -> Figure:
    """Accuracy against confidence of each arm, before and after temperature scaling.

    A calibrated arm lies on the diagonal; the area of a point is the share of images in its bin.
    """
    columns = min(2, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(4.2 * columns, 0.9 + 4 * rows), layout="constrained")
    figure.suptitle(plain(title))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, parts), colour in zip(panels, arms.items(), colours, strict=True):
        _diagram(axes, parts, colour)
        axes.set(title=plain(name))
    return figure


def _diagram(axes: Axes, parts: tuple[Reliability, Reliability], colour: str) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
    keys = []
    for part, when, face in zip(parts, ("before", "after"), ("white", colour), strict=True):
        some = part.count > 0
        points = part.confidence[some], part.accuracy[some]
        axes.plot(*points, color=colour, linewidth=1, alpha=0.5)
        size = 12 + 250 * part.count[some] / part.count.sum()
        axes.scatter(*points, s=size, facecolor=face, edgecolor=colour, zorder=3, clip_on=False)
        label = f"{when}: ECE {part.ece():.3f}"
        keys.append(Line2D([], [], marker="o", color=colour, markerfacecolor=face, label=label))
    axes.legend(handles=keys, frameon=False)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(-0.02, 1.06), ylim=(-0.02, 1.06), aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
