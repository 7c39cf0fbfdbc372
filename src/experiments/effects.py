"""What a setting changed: experiments that differ in it, paired by seed and test image.

Pure functions of runs. A *group* holds the runs with the same settings, by seed; all are compared with the first group.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.core import design
from src.core.errors import UserError
from src.core.records import Interval
from src.experiments import scaling
from src.experiments.scaling import Run
from src.experiments.scaling_figures import SHAPES
from src.plotting import CELL_COLOURS, plain
from src.settings.describe import shown
from src.stats import intervals
from src.stats.intervals import Sampling

LEAD = "lead"  # the question's gap, beside the arms
Values = Mapping[str, Any]  # of the settings that differ, by name


@dataclass(frozen=True)
class Group:
    """The runs under the same settings, by seed."""

    values: Values
    runs: dict[int, Run]

    def label(self, first: "Group") -> str:
        """The settings that differ from the first group's, as `-S` takes them; of the first group itself, all."""
        mine = {k: v for k, v in self.values.items() if self is first or k not in first.values or v != first.values[k]}
        return ", ".join(f"{k}={shown(v)}" for k, v in mine.items())


@dataclass(frozen=True)
class Effect:
    """An arm's accuracy in a group over `seeds`, or the question's gap, and how it differs from the first group's.

    Intervals are over images and, where there are several, seeds: see `intervals.over_seeds`. The difference is over
    the `paired` seeds that both groups have; with none there is no difference. `train_macs` is the arithmetic of the
    arm's adaptation, the mean over seeds.
    """

    setting: str
    name: str
    title: str
    seeds: int
    accuracy: Interval
    paired: int
    difference: Interval | None
    train_macs: float | None

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        difference = astuple(self.difference) if self.difference else (None, None, None)
        bounds = {"accuracy": self.accuracy.value, "low": self.accuracy.low, "high": self.accuracy.high}
        names = ("difference", "difference_low", "difference_high")
        known = {"setting": self.setting, "name": self.name, "title": self.title, "seeds": self.seeds, **bounds}
        return known | {
            "paired": self.paired,
            **dict(zip(names, difference, strict=True)),
            "train_macs": self.train_macs,
        }


def order(groups: Iterable[Group], defaults: Values) -> list[Group]:
    """Sort groups by how many of their settings differ from the defaults, the fewest first."""
    return sorted(groups, key=lambda group: sum(defaults.get(key) != value for key, value in group.values.items()))


def only(run: Run, labels: Sequence[int]) -> Run:
    """The same run on the test images of some classes alone."""
    part = np.isin(run.labels, labels)
    kept = {arm: right[part] for arm, right in run.right.items()}
    return replace(run, labels=run.labels[part], index=run.index[part], right=kept)


def effects(groups: Sequence[Group], sampling: Sampling) -> list[Effect]:
    """The effects on every arm of the first group, and on the question's gap, in every group.

    Raises:
        UserError: groups were tested on different images, or have different arms in the 2 x 2 table.
    """
    first = groups[0]
    require_same_images(groups)
    scaling.agreed_cells([run for group in groups for run in group.runs.values()])
    names = [*next(iter(first.runs.values())).right, LEAD]
    return [
        _effect(name, group, first, sampling)
        for name in names
        for group in groups
        if all(_has(name, run) for run in group.runs.values())
    ]


def _has(name: str, run: Run) -> bool:
    return name in run.right or name == LEAD


def _right(name: str, run: Run) -> np.ndarray:
    """Whether the arm is right on each test image (N,), 0 or 1; for the gap 1, 0 or -1."""
    if name != LEAD:
        return run.right[name].astype(np.int8)
    first, second = (run.right[run.cells[cell]].astype(np.int8) for cell in design.QUESTION)
    return first - second


def _title(name: str, run: Run) -> str:
    if name != LEAD:
        return run.titles[name]
    first, second = (run.titles[run.cells[cell]] for cell in design.QUESTION)
    return f"{first} less {second}"


def _effect(name: str, group: Group, first: Group, sampling: Sampling) -> Effect:
    here, there = ({seed: _right(name, run) for seed, run in part.runs.items()} for part in (group, first))
    shared = [seed for seed in here if seed in there and group is not first]
    difference = None
    if shared:
        mine, theirs = (np.stack([part[seed] for seed in shared]) for part in (here, there))
        difference = intervals.over_seeds(mine, theirs, **asdict(sampling)).interval
    return Effect(
        setting=group.label(first),
        name=name,
        title=_title(name, next(iter(group.runs.values()))),
        seeds=len(here),
        accuracy=intervals.over_seeds(np.stack(list(here.values())), **asdict(sampling)).interval,
        paired=len(shared),
        difference=difference,
        train_macs=None if name == LEAD else fmean(run.costs[name].train_macs for run in group.runs.values()),
    )


def require_same_images(groups: Sequence[Group]) -> None:
    """Require that all runs were tested on the same images.

    Raises:
        UserError: naming two that were not.
    """
    first, *others = [run for group in groups for run in group.runs.values()]
    for run in others:
        if not np.array_equal(run.index, first.index) or not np.array_equal(run.labels, first.labels):
            raise UserError(
                f"{run.name} and {first.name} were tested on different images, so that they cannot be paired; choose "
                "experiments of the same classes: python -m src.experiments effects --experiments NAME ..."
            )


def moved(effects: Sequence[Effect]) -> list[Effect]:
    """The differences of arms that do not predict the same in every group.

    Frozen read-outs predict the same if the setting concerns fine-tuning alone.
    """
    names = {effect.name for effect in effects if effect.difference not in (None, Interval(0, 0, 0))}
    return [effect for effect in effects if effect.name in names and effect.difference is not None]


def describe(groups: Sequence[Group], sampling: Sampling) -> str:
    """In a line, which experiments were compared."""
    runs = [run for group in groups for run in group.runs.values()]
    counts = sorted({len(group.runs) for group in groups})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"{len(runs)} experiments, {seeds} seed{'s'[: counts[-1] > 1]} each, {len(runs[0].index):,} test images; "
        f"{100 * sampling.confidence:g}% intervals"
    )


def render(effects: Sequence[Effect]) -> str:
    """The terminal's text: each arm's accuracy under each setting, and the difference from the first."""
    changed = {effect.name for effect in moved(effects)}
    compared = {effect.name: effect.title for effect in effects if effect.difference is not None}
    width = max(len(effect.setting) for effect in effects)
    lines = []
    for name in dict.fromkeys(
        effect.name for effect in effects if effect.name not in compared or effect.name in changed
    ):
        here = [effect for effect in effects if effect.name == name]
        lines.append(here[0].title if len({effect.title for effect in here}) == 1 else name)
        lines += [f"  {effect.setting:<{width}}  {_shown(effect)}" for effect in here]
    still = [title for name, title in compared.items() if name not in changed]
    return "\n".join(lines + [f"the same under each setting: {'; '.join(still)}"] * bool(still))


def _shown(effect: Effect) -> str:
    if effect.name == LEAD:
        text = f"{_points(effect.accuracy)} points"
    else:
        text = f"{effect.accuracy.value:.3f} [{effect.accuracy.low:.3f}, {effect.accuracy.high:.3f}]"
    if effect.difference:
        shared = f" (over the {effect.paired} seed{'s'[: effect.paired > 1]} that both have)"
        seeds = "" if effect.paired == effect.seeds else shared
        text += f"  {_points(effect.difference):>20} points{seeds}"
    return text


def _points(part: Interval) -> str:
    return f"{100 * part.value:+.1f} [{100 * part.low:+.1f}, {100 * part.high:+.1f}]"


SHARE = 0.8  # of the height between two settings, over which the arms are spread


def differences(effects: Sequence[Effect], note: str) -> Figure:
    """Every setting's difference from the first, for each arm, in points with its interval.

    Args:
        effects: effects that have a difference, of one or more arms.
        note: the title.
    """
    settings, names = (list(dict.fromkeys(getattr(row, part) for row in effects)) for part in ("setting", "name"))
    labels = [plain(setting.replace(", ", "\n")) for setting in settings]
    height = 1.8 + sum(max(0.2 * (label.count("\n") + 1), 0.25 * len(names)) + 0.15 for label in labels)
    figure = Figure(figsize=(8, height), layout="constrained")
    figure.suptitle(plain(note), fontsize=10)
    axes = figure.subplots()
    axes.axvline(0, color="0.5", linewidth=1)
    for number, name in enumerate(names):
        rows = [row for row in effects if row.name == name]
        shift = SHARE * ((number + 0.5) / len(names) - 0.5)
        _intervals(axes, rows, [settings.index(row.setting) + shift for row in rows], **_look(name))
    axes.set_yticks(range(len(settings)), labels)
    axes.set(ylim=(len(settings) - 0.5, -0.5), xlabel="difference, points")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _intervals(axes: Axes, rows: Sequence[Effect], heights: Sequence[float], **look: Any) -> None:
    drawn = [(100 * part.value, 100 * part.low, 100 * part.high) for row in rows if (part := row.difference)]
    middle, low, high = np.array(drawn).T
    title = rows[0].title if len({row.title for row in rows}) == 1 else rows[0].name
    reach = [middle - low, high - middle]
    axes.errorbar(middle, heights, xerr=reach, linestyle="none", capsize=2, label=_short(title), **look)


def _short(title: str) -> str:
    return plain("\n".join(textwrap.wrap(title, 50)))


def _look(name: str) -> dict[str, Any]:
    if name == LEAD:
        return {"color": "0.35", "marker": "|"}
    return {"color": CELL_COLOURS[design.cell(name)], "marker": SHAPES[design.split(name)[1]]}
