"""The figure of the region in which each side of the question is ahead; never saves it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from src.experiments.region import EQUIVALENT, OPEN, Place
from src.experiments.scaling_figures import SERIES
from src.plotting import COLOURS, plain

NEUTRAL = {EQUIVALENT: "#B8D8C8", OPEN: "#E4E4E4"}


def region(places: Sequence[Place], sides: Sequence[str], note: str) -> Figure:
    """A grid of cells, class counts by training images, for each series and size: coloured by word, with the points.

    Args:
        sides: the titles of the question's first and second arm.
        note: the title.
    """
    colours = {f"{sides[0]} ahead": COLOURS[4], f"{sides[1]} ahead": COLOURS[1], **NEUTRAL}
    grids = list(dict.fromkeys((place.condition.series, place.condition.pixels) for place in places))
    ks = sorted({place.condition.classes for place in places})
    shots = sorted({place.condition.shots for place in places}, key=lambda value: np.inf if value is None else value)
    size = 1.6 + 1.25 * len(ks), 0.9 + 0.75 * len(shots)
    figure = Figure(figsize=(max(6.4, size[0]), 1.3 + size[1] * len(grids)), layout="constrained")
    figure.suptitle(plain(note), fontsize=9)
    axes = figure.subplots(len(grids), 1, squeeze=False)[:, 0]
    for axis, (series, pixels) in zip(axes, grids, strict=True):
        for place in places:
            if (place.condition.series, place.condition.pixels) == (series, pixels):
                at = ks.index(place.condition.classes), shots.index(place.condition.shots)
                _cell(axis, at, place, colours[place.text])
        axis.set(xlim=(-0.5, len(ks) - 0.5), ylim=(-0.5, len(shots) - 0.5), xlabel=f"K: {SERIES[series]}")
        axis.set_xticks(range(len(ks)), [str(k) for k in ks])
        axis.set_yticks(range(len(shots)), ["all" if value is None else str(value) for value in shots])
        axis.set(title=f"{pixels} px", ylabel="images of\neach class")
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    handles = [Patch(color=colour, label=plain(word)) for word, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _cell(axis: Axes, at: tuple[int, int], place: Place, colour: str) -> None:
    """One condition: the difference in points, and its interval."""
    x, y = at
    axis.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=colour))
    low, high = 100 * place.difference.low, 100 * place.difference.high
    axis.text(x, y + 0.1, f"{100 * place.difference.value:+z.1f}", ha="center", va="center", fontsize=10)
    axis.text(x, y - 0.25, f"{low:+z.1f} to {high:+z.1f}", ha="center", va="center", fontsize=7)
