"""What a setting changed: experiments that differ in it, paired by seed and image.

Pure functions of runs. A *group* holds the runs with the same settings; all are compared with the first group. By
default arms are compared on the validation images, since test images that choose a setting cannot test it any more.
Under one seed the validation images are the same for every arm; those of two seeds have only some in common, so that
they are nested in the seeds, and an image counts for two seeds as far as both have it.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.core import design
from src.core.errors import UserError
from src.core.records import Interval
from src.experiments.runs import Part, Run, agreed, clusters, require_same_images
from src.experiments.scaling import LEAD, estimate, question
from src.experiments.scaling_figures import SHAPES
from src.plotting import CELL_COLOURS, legend_below, plain
from src.settings.describe import shown
from src.stats.contrasts import Answers, Weights
from src.stats.crossed import Row, crossed

HEIGHT = 0.8  # of the distance between two settings in the figure, over which the arms are spread
Values = Mapping[str, Any]  # of the settings that differ, by name


@dataclass(frozen=True)
class Group:
    """The runs under the same settings, each seed once."""

    values: Values
    runs: Sequence[Run]

    def label(self, first: "Group") -> str:
        """The settings that differ from the first group's, as `-S` takes them; of the first group itself, all."""
        mine = {k: v for k, v in self.values.items() if self is first or k not in first.values or v != first.values[k]}
        return ", ".join(f"{k}={shown(v)}" for k, v in mine.items())


@dataclass(frozen=True)
class Effect:
    """An arm's accuracy in a group over `seeds`, or the question's gap, and how it differs from the first group's.

    Intervals are over images and, where there are several, seeds: see `crossed`. The difference is over the `paired`
    seeds that both groups have; with none there is no difference. `changed` says whether any answer differs.
    `train_macs` is the arithmetic of the arm's adaptation, the mean over runs.
    """

    setting: str
    name: str
    title: str
    seeds: int
    accuracy: Interval
    paired: int
    difference: Interval | None
    changed: bool
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


def effects(groups: Sequence[Group], confidence: float, on: Part = "validation") -> list[Effect]:
    """The effects on every arm of the first group, and on the question's gap, in every group.

    Raises:
        UserError: groups were tested on different images, have no validation images or different ones, or have
            different arms in the 2 x 2 table.
    """
    first = groups[0]
    every = [run for group in groups for run in group.runs]
    run = agreed(every)
    require_same_images(every)
    if without := [other for other in every if not answered(other, on)]:
        raise UserError(
            f"{without[0].name} has no validation images (prepare.val_fraction, finetune.watch); compare the test "
            "images: make effects ON=test, or --on test"
        )
    named: dict[str, Weights] = {arm: {arm: 1} for arm in answered(first.runs[0], on)}
    if set(run.question) <= set(named):
        named[LEAD] = run.question
    return [
        _effect(name, weights, group, first, confidence, on)
        for name, weights in named.items()
        for group in groups
        if all(set(weights) <= set(answered(run, on)) for run in group.runs)
    ]


def answered(run: Run, on: Part) -> list[str]:
    """The arms with answers under every seed."""
    answers = run.answers(on).values()
    return [arm for arm in run.titles if all(arm in part.right for part in answers)]


def _effect(name: str, weights: Weights, group: Group, first: Group, confidence: float, on: Part) -> Effect:
    here, there = (clusters(part.runs, weights, on) for part in (group, first))
    differences = [] if group is first else _paired(here, there, weights, (group.label(first), first.label(first)))
    run = group.runs[0]
    return Effect(
        setting=group.label(first),
        name=name,
        title=question(run) if name == LEAD else run.titles[name],
        seeds=len(here),
        accuracy=estimate(here, weights, confidence).interval,
        paired=len(differences),
        difference=crossed(differences, confidence).interval if differences else None,
        changed=any(bool(row.value.any()) for row in differences),
        train_macs=None if name == LEAD else fmean(run.costs[name].train_macs for run in group.runs),
    )


def _paired(here: Sequence[Answers], there: Sequence[Answers], weights: Weights, labels: tuple[str, str]) -> list[Row]:
    """The differences on every image, a row for each seed that both groups have.

    Args:
        labels: of the two groups.

    Raises:
        UserError: their validation images are not the same.
    """
    others = {part.cluster: part for part in there}
    both = [(part, others[part.cluster]) for part in here if part.cluster in others]
    if any(not np.array_equal(part.index, other.index) for part, other in both):
        raise UserError(
            f"{labels[0]}: its validation images are not those of {labels[1]}, so that they cannot be paired; compare "
            "the test images: make effects ON=test, or --on test"
        )
    return [Row(part.cluster, part.index, part.sum(weights) - other.sum(weights)) for part, other in both]


def moved(effects: Sequence[Effect]) -> list[Effect]:
    """The differences of arms that do not answer the same in every group.

    Frozen read-outs answer the same if the setting concerns fine-tuning alone.
    """
    names = {effect.name for effect in effects if effect.changed}
    return [effect for effect in effects if effect.name in names and effect.difference is not None]


def describe(groups: Sequence[Group], confidence: float, on: Part) -> str:
    """In a line, which experiments were compared, and on which images."""
    runs = [run for group in groups for run in group.runs]
    counts = sorted({sum(len(run.test) for run in group.runs) for group in groups})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    n = len(next(iter(runs[0].answers(on).values())).index)
    each = " of each seed" if on == "validation" and counts[-1] > 1 else ""
    return (
        f"{len(runs)} experiments, {seeds} seed{'s'[: counts[-1] > 1]} each, {n:,} {on} images{each}; "
        f"{100 * confidence:g}% intervals"
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
        shift = HEIGHT * ((number + 0.5) / len(names) - 0.5)
        _intervals(axes, rows, [settings.index(row.setting) + shift for row in rows], **_look(name))
    axes.set_yticks(range(len(settings)), labels)
    axes.set(ylim=(len(settings) - 0.5, -0.5), xlabel="difference, points")
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure, fontsize=9)
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
