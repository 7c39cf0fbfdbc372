"""The arms as classes, training images or pixels are added: tables over the runs of a sweep, see `runs`.

A point is the mean over the seeds under one condition, or over its subsets of classes. Pure functions of runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from src.core import design
from src.experiments.runs import Condition, Run, agreed, by_condition, clusters
from src.records.compare import Cost
from src.stats import contrasts, intervals
from src.stats.contrasts import Weights
from src.stats.crossed import Crossed

Table = list[dict[str, Any]]
Axis = Literal["classes", "shots", "pixels"]
AXES: dict[Axis, str] = {"classes": "K", "shots": "training images of each class", "pixels": "pixels"}
LEAD = "lead"  # the difference that the question asks for


class Level(NamedTuple):
    """The level of all intervals, and the difference of accuracy that counts as none."""

    confidence: float
    margin: float


@dataclass(frozen=True)
class Point:
    """A mean under one condition, as a share of the test images, and the same sum of log odds.

    `images` are the training images of each class. `sd` is the standard deviation over runs, one for each subset and
    seed; a single run has none. The interval [low, high] covers what `covers` says: `images`, of a single run; `seeds
    and images`; or `subsets and images`, where there are several.
    """

    series: str
    k: int
    shots: int | None
    images: float
    pixels: int
    name: str
    title: str
    seeds: int
    subsets: int
    runs: int
    mean: float
    sd: float | None
    low: float
    high: float
    covers: str
    log_odds: float
    log_odds_low: float
    log_odds_high: float

    @property
    def condition(self) -> Condition:
        return Condition(self.series, self.k, self.shots, self.pixels)

    def at(self, axis: Axis) -> float:
        """The position on an axis."""
        return {"classes": self.k, "shots": self.images, "pixels": self.pixels}[axis]


def images_of(runs: Sequence[Run]) -> float:
    """The training images of each class, the mean over runs."""
    return float(np.mean([run.images for run in runs]))


def _point(name: str, title: str, runs: Sequence[Run], weights: Weights, confidence: float) -> Point | None:
    """The point of some runs under one condition; None if none has all arms."""
    having = [run for run in runs if all(arm in run.titles for arm in weights)]
    if not having:
        return None
    answers = clusters(having, weights)
    estimated, ratio = estimate(answers, weights, confidence), contrasts.log_odds(answers, weights, confidence)
    means = [float(part.sum(weights).mean()) for run in having for part in run.test.values()]
    subsets = len({run.subset for run in having})
    condition = having[0].condition
    return Point(
        series=condition.series,
        k=condition.classes,
        shots=condition.shots,
        images=images_of(having),
        pixels=condition.pixels,
        name=name,
        title=title,
        seeds=len({seed for run in having for seed in run.test}),
        subsets=subsets,
        runs=len(means),
        mean=estimated.value,
        sd=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        low=estimated.low,
        high=estimated.high,
        covers=covers(estimated, subsets),
        log_odds=ratio.value,
        log_odds_low=ratio.low,
        log_odds_high=ratio.high,
    )


def estimate(answers: Sequence[contrasts.Answers], weights: Weights, confidence: float) -> Crossed:
    """An arm's accuracy, or a weighted sum of several."""
    if len(weights) == 1:
        return contrasts.accuracy(answers, next(iter(weights)), confidence)
    return contrasts.contrast(answers, weights, confidence)


def covers(estimated: Crossed, subsets: int) -> str:
    """What an interval covers, in words."""
    return "images" if estimated.count == 1 else f"{'subsets' if subsets > 1 else 'seeds'} and images"


def accuracy(runs: Sequence[Run], confidence: float) -> list[Point]:
    """Every arm's accuracy under every condition, over the runs that have the arm."""
    points = [
        _point(arm, next(run.titles[arm] for run in group if arm in run.titles), group, {arm: 1}, confidence)
        for group in by_condition(runs).values()
        for arm in dict.fromkeys(arm for run in group for arm in run.titles)
    ]
    return [point for point in points if point]


def differences(runs: Sequence[Run]) -> dict[str, tuple[str, Weights]]:
    """The differences between arms by name, each with its title and its weights.

    `lead` is the question's. The other cells of the 2 x 2 table are compared with the question's second arm, under
    their own names. The effects of `intervals.EFFECTS` follow, where all four cells were run.
    """
    run = agreed(runs)
    chosen: dict[str, tuple[str, Weights]] = {LEAD: (question(run), run.question)}
    second = min(run.question, key=lambda arm: run.question[arm])
    for cell, arm in run.cells.items():
        if arm not in run.question:
            chosen[cell] = (f"{run.titles[arm]} less {run.titles[second]}", {arm: 1, second: -1})
    if len(run.cells) == len(design.CELLS):
        for name, weights in intervals.EFFECTS.items():
            chosen[name] = (f"effect: {name}", {run.cells[cell]: weight for cell, weight in weights.items()})
    return chosen


def sides(run: Run) -> tuple[str, str]:
    """The titles of the two arms that the question compares."""
    first, second = sorted(run.question, key=lambda arm: -run.question[arm])
    return run.titles[first], run.titles[second]


def question(run: Run) -> str:
    """The difference that the question asks for, in words: `resnet18, fine-tuned less convnext_tiny, frozen`."""
    return " less ".join(sides(run))


def gaps(runs: Sequence[Run], confidence: float) -> list[Point]:
    """The differences between arms under every condition, see `differences`."""
    chosen = differences(runs)
    points = [
        _point(name, title, group, weights, confidence)
        for group, (name, (title, weights)) in product(by_condition(runs).values(), chosen.items())
    ]
    return [point for point in points if point]


def compute(runs: Sequence[Run], confidence: float) -> Table:
    """Every arm's accuracy and cost under every condition, means over runs; `front` marks the Pareto front.

    The cost is `train_macs`: the arithmetic of training, or of embedding the images that a frozen arm learns from.
    """
    table: Table = []
    for condition, group in by_condition(runs).items():
        here: Table = []
        for arm in dict.fromkeys(arm for run in group for arm in run.titles):
            having = [run for run in group if arm in run.titles]
            row = {"series": condition.series, "k": condition.classes, "shots": condition.shots}
            row |= {"images": images_of(having), "pixels": condition.pixels}
            row |= {"name": arm, "title": having[0].titles[arm], "runs": len(having)}
            row["accuracy"] = contrasts.accuracy(clusters(having, [arm]), arm, confidence).value
            known = [value for run in having if (value := run.val_accuracy[arm]) is not None]
            row["val_accuracy"] = float(np.mean(known)) if known else None
            for cost in Cost.model_fields:
                row[cost] = float(np.mean([getattr(run.costs[arm], cost) for run in having]))
            here.append(row)
        ahead = {
            (first["name"], second["name"])
            for first, second in product(here, here)
            if first["accuracy"] > second["accuracy"] and _ahead(group, first["name"], second["name"], confidence)
        }
        on = front({row["name"]: row["train_macs"] for row in here}, ahead)
        table += [row | {"front": row["name"] in on} for row in here]
    return table


def _ahead(runs: Sequence[Run], first: str, second: str, confidence: float) -> bool:
    """Whether an arm is ahead of another: the interval of their difference is above 0."""
    both = clusters(runs, (first, second))
    return bool(both) and contrasts.contrast(both, {first: 1, second: -1}, confidence).low > 0


def front(costs: Mapping[str, float], ahead: set[tuple[str, str]]) -> set[str]:
    """The Pareto front by interval: the arms that no other arm is ahead of which costs at most as much.

    Args:
        costs: of each arm.
        ahead: pairs of arms of which the first is ahead of the second.
    """
    return {
        arm for arm, cost in costs.items() if not any((other, arm) in ahead and costs[other] <= cost for other in costs)
    }


def base_classes(runs: Sequence[Run], confidence: float) -> list[Point]:
    """The report's bars: fine-tuned ResNet and ConvNeXt with an untrained head at every K, tested on the base classes.

    All K outputs compete, as in the report. Only the series of the first K classes has the same base classes at every
    K; the others have no such bars. Where no untrained head was run, the 2 x 2 table's frozen ConvNeXt replaces it.
    """
    points = []
    for condition, group in by_condition(runs).items():
        if condition.series != "first":
            continue
        cells, head = agreed(group).cells, "convnext.random_head"
        cut = [run.of_classes(range(run.base_classes)) for run in group]
        for arm in (cells["resnet.finetuned"], head if head in group[0].titles else cells["convnext.frozen"]):
            title = next((run.titles[arm] for run in cut if arm in run.titles), arm)
            points.append(_point(arm, title, cut, {arm: 1}, confidence))
    return [point for point in points if point]


def varying(points: Sequence[Point]) -> list[Axis]:
    """The axes along which points lie, at least one."""
    several: dict[Axis, set[Any]] = {
        "classes": {point.k for point in points},
        "shots": {point.shots for point in points},
        "pixels": {point.pixels for point in points},
    }
    return [axis for axis, values in several.items() if len(values) > 1] or ["classes"]


def along(points: Sequence[Point], axis: Axis) -> list[Point]:
    """The points of each series along an axis, in its order, where the other axes have their largest values."""
    kept = []
    for series in dict.fromkeys(point.series for point in points):
        here = [point for point in points if point.series == series]
        for other in AXES:
            if other != axis:
                most = max(point.at(other) for point in here)
                # Without a limit, the training images of a class may differ from one class count to another.
                here = [p for p in here if p.at(other) == most or (other == "shots" and p.shots is None)]
        kept += sorted(here, key=lambda point: point.at(axis))
    return kept


def describe(runs: Sequence[Run], level: Level) -> str:
    """In a line, which runs these are."""
    seeds = len({seed for run in runs for seed in run.test})
    subsets = len({run.subset for run in runs if run.condition.series == "random"})
    drawn = f", {subsets} random subset{'s'[: subsets > 1]}" if subsets else ""
    many = f"{len(runs)} experiment{'s'[: len(runs) > 1]}, {seeds} seed{'s'[: seeds > 1]}{drawn}"
    return f"{many}; {100 * level.confidence:g}% intervals"


def missing(runs: Sequence[Run]) -> list[str]:
    """What these runs cannot show, a sentence each."""
    groups = by_condition(runs)
    sentences = []
    if len({condition[1:] for condition in groups}) == 1:
        sentences.append(f"Not shown: what more classes, images or pixels change; all runs have {_named(runs[0])}.")
    single = [runs for runs in groups.values() if len({(run.subset, seed) for run in runs for seed in run.test}) == 1]
    if single:
        where = "; ".join(dict.fromkeys(_named(group[0]) for group in single))
        sentences.append(
            f"Not shown: which side is ahead where one seed was run ({where}): its intervals cover test images, and say"
            " which network got more right; whether the recipe is better needs more seeds."
        )
    if len(runs[0].cells) < len(design.CELLS):
        sentences.append("Not shown: the effects of backbone and fine-tuning, which need `controls: true`.")
    if all(condition.series != "first" for condition in groups):
        sentences.append("Not shown: the report's bars, which need runs of the first K classes.")
    return sentences


def _named(run: Run) -> str:
    return named(run.condition)


def named(condition: Condition) -> str:
    """A condition in words: `K = 5, 10 images of each class, 32 px`."""
    return f"K = {condition.classes}, {images_named(condition.shots)}, {condition.pixels} px"


def images_named(shots: int | None) -> str:
    """The training images in words: `10 images of each class`."""
    return "all images" if shots is None else f"{shots} images of each class"


def render(accuracies: Sequence[Point], gap: Sequence[Point]) -> str:
    """For the terminal: each arm's accuracy by condition, with its standard deviation over runs, and the lead.

    Under each accuracy stand its log odds; beside the lead in points the difference of the log odds.
    """
    lines = []
    leads = [point for point in gap if point.name == LEAD]
    for series, shots, pixels in dict.fromkeys((point.series, point.shots, point.pixels) for point in accuracies):
        here = [p for p in accuracies if (p.series, p.shots, p.pixels) == (series, shots, pixels)]
        ks = sorted({point.k for point in here})
        cells = {(p.name, p.k): f"{p.mean:.3f}{_spread(p.sd)} ({p.log_odds:+.2f})" for p in here}
        titles = {point.name: point.title for point in here}
        head = f"series: {series}, {'all' if shots is None else shots} images, {pixels} px"
        width = max(map(len, (head, *titles.values())))
        lines.append(f"{head:<{width}}" + "".join(f"  {f'K = {k}':>21}" for k in ks))
        for name, title in titles.items():
            lines.append(f"{title:<{width}}" + "".join(f"  {cells.get((name, k), '-'):>21}" for k in ks))
        lines += [
            f"K = {lead.k}: {lead.title}: {_lead(lead)}"
            for lead in leads
            if (lead.series, lead.shots, lead.pixels) == (series, shots, pixels)
        ]
    return "\n".join([*lines, "accuracy ± standard deviation over runs (log odds)"])


def _lead(lead: Point) -> str:
    low, mean, high = (100 * value for value in (lead.low, lead.mean, lead.high))
    odds = f"{lead.log_odds:+.2f} [{lead.log_odds_low:+.2f}, {lead.log_odds_high:+.2f}]"
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}] points; log odds {odds}"


def _spread(sd: float | None) -> str:
    return "" if sd is None else f" ±{sd:.3f}"
