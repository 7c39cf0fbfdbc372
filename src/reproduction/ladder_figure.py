"""The waterfall from the report's protocol to the fair one; never saved."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.plotting import COLOURS, plain
from src.reproduction.ladder import Ladder, Measure
from src.stats.crossed import Crossed

UP, DOWN, ENDS = COLOURS[2], COLOURS[5], "0.55"
PANELS: dict[Measure, str] = {
    "legacy": "{legacy}, accuracy",
    "lead": "lead: {legacy} less {modern}",
}


def waterfall(found: Ladder, legacy: str, modern: str, note: str) -> Figure:
    """Every change as a bar from the value before to the value after it, with the interval of the difference.

    Args:
        legacy, modern: the backbones' names.
        note: the title.
    """
    words = ["report", *(worth.words for worth in found.worths), "fair", *(f"fair, {w.words}" for w in found.beyond)]
    figure = Figure(figsize=(13, 1.9 + 0.42 * len(words)), layout="constrained")
    figure.suptitle(plain(note), fontsize=10)
    names = {"legacy": f"{legacy}, fine-tuned", "modern": f"{modern}, frozen"}
    for axes, (measure, title) in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True):
        steps = [getattr(worth, measure) for worth in found.worths]
        more = [getattr(worth, measure) for worth in found.beyond]
        _panel(axes, found.ends(measure), steps, more)
        axes.set(xlabel="points", title=plain(title.format(**names)))
        axes.spines[["top", "right"]].set_visible(False)
    axes.figure.axes[0].set_yticks(range(len(words)), [plain(text) for text in words])
    axes.set_ylim(len(words) - 0.4, -0.6)
    return figure


def _panel(axes: Axes, ends: tuple[Crossed, Crossed], steps: Sequence[Crossed], beyond: Sequence[Crossed]) -> None:
    first, last = ends
    _end(axes, 0, first)
    before = list(accumulate((step.value for step in steps), initial=first.value))
    for row, (start, step) in enumerate(zip(before, steps, strict=False), start=1):
        _step(axes, row, start, step)
    _end(axes, len(steps) + 1, last)
    for row, step in enumerate(beyond, start=len(steps) + 2):
        _step(axes, row, last.value, step)
    axes.axvline(0, color="0.5", linewidth=0.8)
    low, high = axes.get_xlim()
    axes.set_xlim(low - 0.08 * (high - low), high + 0.16 * (high - low))


def _end(axes: Axes, row: int, value: Crossed) -> None:
    spread = [[100 * (value.value - value.low)], [100 * (value.high - value.value)]]
    axes.barh(row, 100 * value.value, xerr=spread, color=ENDS, height=0.6, capsize=3)
    _text(axes, row, 100 * max(value.high, 0), f"{100 * value.value:.1f}")


def _step(axes: Axes, row: int, start: float, step: Crossed) -> None:
    """A bar from `start` to the value after the step; the whisker is the interval of the step."""
    spread = [[100 * (step.value - step.low)], [100 * (step.high - step.value)]]
    colour = UP if step.value >= 0 else DOWN
    axes.barh(row, 100 * step.value, left=100 * start, xerr=spread, color=colour, height=0.6, capsize=3)
    axes.plot([100 * start] * 2, [row - 1.3, row + 0.3], color="0.4", linewidth=0.7)
    _text(axes, row, 100 * (start + max(step.high, 0)), f"{100 * step.value:+.1f}")


def _text(axes: Axes, row: int, right: float, text: str) -> None:
    axes.annotate(text, (right, row), (5, 0), textcoords="offset points", va="center", fontsize=9)
