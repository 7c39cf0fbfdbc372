"""What a setting changed, as a matplotlib Figure; never saves. For `python -m stages.effects`."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src import arms
from src.compare_plots import CELL_COLOURS
from src.effects import LEAD, Effect
from src.plots import plain
from src.scaling_plots import SHAPES

SHARE = 0.8  # of the height between two settings, in which the arms stand


def differences(found: Sequence[Effect], note: str) -> Figure:
    """The difference from the first setting that each makes to each arm, in points, with its interval.

    Args:
        found: effects that have a difference, of one or more arms.
        note: the title.
    """
    settings, names = (list(dict.fromkeys(getattr(row, part) for row in found)) for part in ("setting", "name"))
    labels = [plain(setting.replace(", ", "\n")) for setting in settings]
    height = 1.8 + sum(max(0.2 * (label.count("\n") + 1), 0.25 * len(names)) + 0.15 for label in labels)
    figure = Figure(figsize=(8, height), layout="constrained")
    figure.suptitle(plain(note), fontsize=10)
    axes = figure.subplots()
    axes.axvline(0, color="0.5", linewidth=1)
    for place, name in enumerate(names):
        rows = [row for row in found if row.name == name]
        shift = SHARE * ((place + 0.5) / len(names) - 0.5)
        _intervals(axes, rows, [settings.index(row.setting) + shift for row in rows], **_look(name))
    axes.set_yticks(range(len(settings)), labels)
    axes.set(ylim=(len(settings) - 0.5, -0.5), xlabel="difference, points")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _intervals(axes: Axes, rows: Sequence[Effect], places: Sequence[float], **look: Any) -> None:
    drawn = [(100 * part.value, 100 * part.low, 100 * part.high) for row in rows if (part := row.difference)]
    middle, low, high = np.array(drawn).T
    title = rows[0].title if len({row.title for row in rows}) == 1 else rows[0].name
    reach = [middle - low, high - middle]
    axes.errorbar(middle, places, xerr=reach, linestyle="none", capsize=2, label=_short(title), **look)


def _short(title: str) -> str:
    return plain("\n".join(textwrap.wrap(title, 50)))


def _look(name: str) -> dict[str, Any]:
    if name == LEAD:
        return {"color": "0.35", "marker": "|"}
    return {"color": CELL_COLOURS[arms.cell(name)], "marker": SHAPES[arms.split(name)[1]]}
