"""Figures of the arms over class counts; never saves them."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, PercentFormatter

from src.core import design
from src.experiments.scaling import AXES, LEAD, Axis, Point, along, images_named
from src.plotting import CELL_COLOURS, COLOURS, MARKERS, plain
from src.readouts.config import READOUTS
from src.stats import intervals

COLUMNS = {"frozen": READOUTS, "finetuned": design.FINETUNED}
SERIES = {"first": "the first K classes", "random": "K classes at random", "named": "classes by name"}
SHAPES = dict(zip((*design.FINETUNED, *READOUTS), "oPXsD^vh*<>pd8", strict=False))
WORDS = {"finetuned": "fine-tuned", "frozen": "frozen"}


def accuracy(points: Sequence[Point], axis: Axis, note: str) -> Figure:
    """Accuracy along an axis: a panel for each cell of the 2 x 2 table in each series, a line and a band for each arm.

    The other axes have their largest values.
    """
    points = along(points, axis)
    panels = {
        (series, cell): [point for point in points if point.series == series and design.cell(point.name) == cell]
        for series in dict.fromkeys(point.series for point in points)
        for cell in sorted({design.cell(point.name) for point in points}, key=_cell_order)
    }
    panels = {key: here for key, here in panels.items() if here}
    figure, axes = _panels(len(panels), 5.6, 3.6, sharey=True)
    figure.suptitle(plain(note), fontsize=10)
    for panel, ((series, cell), here) in zip(axes, panels.items(), strict=False):
        role, column = cell.split(".")
        lines = {name: [p for p in here if p.name == name] for name in dict.fromkeys(p.name for p in here)}
        chance = sorted({(point.at(axis), 1 / point.k) for point in points if point.series == series})
        panel.plot(*zip(*chance, strict=True), color="0.5", linestyle=":", linewidth=1)
        labels = [("chance", chance[-1][1], "0.4")]
        for name, line in lines.items():
            adaptation = design.split(name)[1]
            colour = COLOURS[COLUMNS[column].index(adaptation) % len(COLOURS)]
            _band(panel, line, axis, colour, MARKERS[role])
            labels.append((adaptation.replace("_", " "), line[-1].mean, colour))
        _label(panel, axis, labels, [at for at, _ in chance], lowest=0, highest=1)
        backbone = here[0].title.split(", ")[0]
        panel.set(title=plain(f"{backbone}, {WORDS[column]}"), ylim=(-0.02, 1.03), ylabel="accuracy on the test images")
        panel.set(xlabel=_axis_label(axis, series, here))
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def gap(points: Sequence[Point], axis: Axis, note: str) -> Figure:
    """The gap between arms along an axis, in points: cells less the question's second arm, and the effects beside them.

    The other axes have their largest values.
    """
    points = along(points, axis)
    effects = [point for point in points if point.name in intervals.EFFECTS]
    cells = [point for point in points if point.name not in intervals.EFFECTS]
    parts = {
        (series, words): [point for point in part if point.series == series]
        for series in dict.fromkeys(point.series for point in points)
        for words, part in (("less frozen", cells), ("effects of the 2 x 2 table", effects))
        if part
    }
    figure, axes = _panels(len(parts), 5.8, 3.9, sharey=True)
    figure.suptitle(plain(note), fontsize=10)
    for panel, ((series, words), here) in zip(axes, parts.items(), strict=False):
        lines = {name: [p for p in here if p.name == name] for name in dict.fromkeys(p.name for p in here)}
        panel.axhline(0, color="0.5", linewidth=1)
        places, labels = sorted({point.at(axis) for point in here}), []
        for position, (name, line) in enumerate(lines.items()):
            cell = design.QUESTION[0] if name == LEAD else name
            colour = CELL_COLOURS.get(cell, (COLOURS[2], COLOURS[3], "0.25")[position % 3])
            _band(panel, line, axis, colour, MARKERS.get(cell.split(".")[0], "D"))
            text = name if name in intervals.EFFECTS else line[-1].title.split(" less ")[0]
            labels.append((text, line[-1].mean, colour))
        _label(panel, axis, labels, places)
        title = words if here[0].name in intervals.EFFECTS else f"less {here[0].title.split(' less ')[1]}"
        panel.set(title=plain(title), xlabel=_axis_label(axis, series, here), ylabel="difference of accuracy, points")
        panel.yaxis.set_major_formatter(PercentFormatter(1, symbol="", decimals=None))
    return figure


def _axis_label(axis: Axis, series: str, points: Sequence[Point]) -> str:
    """What an axis shows, and where the others stand."""
    last = points[-1]
    fixed = {"classes": f"K = {last.k}", "shots": images_named(last.shots), "pixels": f"{last.pixels} px"}
    rest = ", ".join(words for other, words in fixed.items() if other != axis)
    return f"{AXES[axis]}{f': {SERIES[series]}' if axis == 'classes' else ''} ({rest})"


def compute(rows: Sequence[Mapping[str, Any]], note: str) -> Figure:
    """Accuracy against the arithmetic of adaptation, a panel for each condition; arms on the front are filled."""
    panels: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["series"], row["k"], row["shots"], row["pixels"]), []).append(row)
    figure, axes = _panels(len(panels), 4.6, 3.9, columns=3, sharex=True)
    figure.suptitle(plain(note), fontsize=10)
    paid = [row["train_macs"] for row in rows if row["train_macs"] > 0] or [1.0]
    nothing = min(paid) / 10  # where a logarithmic axis shows zero
    for axis, ((series, k, shots, pixels), here) in zip(axes, panels.items(), strict=False):
        costs, best = _best_so_far(here)
        axis.plot(np.maximum(costs, nothing), best, color="0.6", linewidth=1, drawstyle="steps-post", zorder=1)
        axis.axhline(1 / k, color="0.5", linestyle=":", linewidth=1)
        for row in here:
            point = max(row["train_macs"], nothing), row["accuracy"]
            axis.plot(*point, **_mark(row["name"], filled=row["front"]), zorder=2)
        lowest = min([1 / k, *(row["accuracy"] for row in here)])
        where = f"K = {k}, {SERIES[series]}\n{images_named(shots)}, {pixels} px"
        axis.set_title(where, fontsize=10)
        axis.set(ylim=(lowest - 0.05 * (1 - lowest) - 0.01, 1.02))
        axis.set(xlabel="multiply-adds of adaptation", ylabel="accuracy on the test images")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        _arithmetic_axis(axis, nothing if any(row["train_macs"] == 0 for row in rows) else None, paid)
    _arms_legend(figure, rows)
    return figure


def _best_so_far(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The costs in order, and the best accuracy at most at each cost."""
    costs, accuracies = zip(*sorted((row["train_macs"], row["accuracy"]) for row in rows), strict=True)
    return np.array(costs), np.maximum.accumulate(accuracies)


def base_classes(points: Sequence[Point], count: int, note: str) -> Figure:
    """The report's bar chart: ResNet trained on each K classes, and ConvNeXt at the smallest K, on the base classes."""
    points = along(points, "classes")
    resnet = [point for point in points if design.split(point.name)[0] == "resnet"]
    convnext = [point for point in points if design.split(point.name)[0] == "convnext"]
    bars = [*resnet, *sorted(convnext, key=lambda point: point.k)[:1]]
    figure = Figure(figsize=(1.6 + 1.35 * len(bars), 4.4), layout="constrained")
    figure.suptitle(plain(note), fontsize=10)
    axis = figure.subplots()
    for position, point in enumerate(bars):
        spread = [[point.mean - point.low], [point.high - point.mean]]
        colour = CELL_COLOURS[design.cell(point.name)]
        axis.bar(position, point.mean, yerr=spread, color=colour, width=0.65, capsize=4)
        axis.text(position, min(point.high, 1) + 0.02, f"{point.mean:.1%}", ha="center")
    names = [f"{point.title.replace(', ', chr(10))}\nK = {point.k}" for point in bars]
    axis.set_xticks(range(len(bars)), [plain(name) for name in names], fontsize=9)
    axis.set(ylim=(0, 1.12), ylabel=f"accuracy on the first {count} classes alone")
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _cell_order(cell: str) -> tuple[int, bool]:
    role, column = cell.split(".")
    return design.ROLES.index(role), column == "finetuned"


def _panels(
    count: int, width: float, height: float, *, columns: int = 2, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, 0.5 + height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelleft=True, labelbottom=True)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes


def _band(panel: Axes, line: Sequence[Point], axis: Axis, colour: str, marker: str) -> None:
    """The means with their intervals as a band; for a single place as a bar."""
    places, means, low, high = zip(*((p.at(axis), p.mean, p.low, p.high) for p in line), strict=True)
    panel.plot(places, means, color=colour, marker=marker, markersize=4)
    if len(line) > 1:
        panel.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    else:
        panel.vlines(places, low, high, color=colour)


def _label(
    panel: Axes,
    axis: Axis,
    labels: Sequence[tuple[str, float, str]],
    places: Sequence[float],
    lowest: float | None = None,
    highest: float | None = None,
) -> None:
    """A name at the end of each line, moved apart where they would overlap; room for them on the right.

    Images and pixels are multiplied from one place to the next, so their axes are logarithmic.
    """
    to, back = (np.log, np.exp) if axis != "classes" else (np.asarray, np.asarray)
    positions = to(np.array(places, float))
    last, span = positions[-1], max(positions[-1] - positions[0], 1.0)
    if axis != "classes":
        panel.set_xscale("log")
    panel.set_xlim(*back(np.array([positions[0] - 0.06 * span, last + 0.48 * span])))
    panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.xaxis.set_minor_locator(NullLocator())
    bottom, top = panel.get_ylim() if lowest is None or highest is None else (lowest, highest)
    heights = _apart([value for _, value, _ in labels], 0.062 * (top - bottom))
    start, stop, name = back(last + span * np.array([0.02, 0.06, 0.07]))
    for (text, value, colour), height in zip(labels, heights, strict=True):
        panel.plot([start, stop], [value, height], color=colour, linewidth=0.6)
        panel.text(name, height, plain(text), color=colour, va="center", fontsize=8.5)


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """The values in the same order, moved as little as possible until any two are `distance` apart."""
    order = np.argsort(values, kind="stable")
    groups: list[list[float]] = []  # each of values that push one another: they stand evenly around their mean
    for value in (values[i] for i in order):
        groups.append([value])
        while len(groups) > 1 and _edge(groups[-2], distance, 1) + distance > _edge(groups[-1], distance, -1) + 1e-12:
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = [_edge(group, distance, -1) + distance * i for group in groups for i in range(len(group))]
    in_order = np.empty(len(values))
    in_order[order] = moved
    return in_order.tolist()


def _edge(group: Sequence[float], distance: float, side: int) -> float:
    return float(np.mean(group) + side * distance * (len(group) - 1) / 2)


def _arithmetic_axis(axis: Axes, nothing: float | None, paid: Sequence[float]) -> None:
    """A logarithmic axis over the costs; `nothing` is the position of a cost of zero, if there is one."""
    axis.set_xscale("log")
    low, high = np.log10(min(paid)), np.log10(max(paid))
    ticks = np.arange(np.ceil(low - 0.3), high + 0.3)
    names = [rf"$10^{{{power:.0f}}}$" for power in ticks]
    labels = [] if nothing is None else [(nothing, "none")]
    labels += list(zip(10.0**ticks, names, strict=True))
    axis.set_xticks([value for value, _ in labels], [name for _, name in labels])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim((min(paid) if nothing is None else nothing) / 2, max(paid) * 2)


def _mark(arm: str, *, filled: bool) -> dict[str, Any]:
    """A point in the colour of its arm's cell and the shape of its adaptation."""
    colour = CELL_COLOURS[design.cell(arm)]
    shape = SHAPES[design.split(arm)[1]]
    face = colour if filled else "white"
    return {"marker": shape, "color": colour, "markerfacecolor": face, "markersize": 7, "linestyle": ""}


def _arms_legend(figure: Figure, rows: Sequence[Mapping[str, Any]]) -> None:
    """One entry for each arm, a column for each cell of the 2 x 2 table, and one for the front."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        cells.setdefault(design.cell(row["name"]), {})[row["name"]] = row["title"]
    columns = [
        [Line2D([], [], label=plain(title), **_mark(name, filled=False)) for name, title in cells[cell].items()]
        for cell in sorted(cells, key=_cell_order)
    ]
    front = Line2D([], [], color="0.6", label="best so far; filled: no arm as cheap is ahead")
    columns.append([front, Line2D([], [], color="0.5", linestyle=":", label="chance")])
    empty = Line2D([], [], linestyle="", label=" ")
    filled = zip_longest(*columns, fillvalue=empty)  # matplotlib fills column by column
    handles = [handle for column in zip(*filled, strict=True) for handle in column]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(cells) + 1, frameon=False, fontsize=8)
