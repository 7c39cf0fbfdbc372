"""The arms as classes are added: tables over the runs of a sweep.

Pure functions of runs. A *series* is a way to choose K classes: `first` takes the first K, so that the subsets are
nested; `random` draws them, by `subset_seed`; `named` are lists of names. Series are never averaged with each other.
Within one, a point is the mean over its subsets of the mean over seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

from src.core import design
from src.core.errors import UserError
from src.records.compare import Cost
from src.stats import intervals
from src.stats.intervals import Sampling

# Of one run, how many arms (N,) are right on each image, and how many to subtract: two arms differ by one less another.
Term = tuple[np.ndarray, np.ndarray | None]
SERIES = ("first", "random", "named")


@dataclass(frozen=True)
class Run:
    """One experiment: its classes, its seed, and the results of its arms, by name, on N test images.

    `right` holds for each arm which images (N,) it got right; `labels` (N,) and `index` (N,) say which images; `cells`
    the arm in each cell of the 2 x 2 table.
    """

    name: str
    series: str
    subset: str
    classes: int
    seed: int
    base_classes: int
    labels: np.ndarray
    index: np.ndarray
    right: Mapping[str, np.ndarray]
    titles: Mapping[str, str]
    costs: Mapping[str, Cost]
    val_accuracy: Mapping[str, float]
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Point:
    """A mean at K classes in one series. `sd` is the standard deviation over runs; a single run has none.

    The interval [low, high] covers what `covers` says: `images`, of a single run; `images and seeds`; or `subsets`,
    where there are several (Student's t over the subsets' means).
    """

    series: str
    k: int
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


@dataclass(frozen=True)
class Estimate:
    """The fields of a point that are estimated."""

    mean: float
    sd: float | None
    low: float
    high: float
    covers: str


Table = list[dict[str, Any]]


def by_series_and_classes(runs: Iterable[Run]) -> dict[tuple[str, int], list[Run]]:
    """Runs by series and K, both in order, and each group by subset and seed."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (SERIES.index(run.series), run.classes, run.subset, run.seed)):
        groups.setdefault((run.series, run.classes), []).append(run)
    return groups


def estimate(subsets: Mapping[str, Sequence[Term]], sampling: Sampling) -> Estimate:
    """The mean, its spread over runs and its interval.

    Args:
        subsets: for each, the terms by seed. N is the same under every seed.
    """
    means = {
        name: [float(plus.mean() - (0 if minus is None else minus.mean())) for plus, minus in terms]
        for name, terms in subsets.items()
    }
    every = [mean for part in means.values() for mean in part]
    sd = float(np.std(every, ddof=1)) if len(every) > 1 else None
    if len(subsets) == 1:
        (terms,) = subsets.values()
        minus = [second for _, second in terms if second is not None]
        first, second = np.stack([plus for plus, _ in terms]), np.stack(minus) if minus else None  # (S, N)
        over_seeds = intervals.over_seeds(first, second, **asdict(sampling))
        middle, low, high = astuple(over_seeds.interval)
        return Estimate(middle, sd, low, high, over_seeds.covers)
    averages = [np.mean(part) for part in means.values()]
    middle, error = float(np.mean(averages)), float(stats.sem(averages))
    reach = error * float(stats.t.ppf((1 + sampling.confidence) / 2, len(averages) - 1))
    return Estimate(middle, sd, middle - reach, middle + reach, "subsets")


def _point(
    name: str,
    title: str,
    runs: Sequence[Run],
    terms: Sequence[Term],
    sampling: Sampling,
    scale: float = 1,
) -> Point:
    """The point of some runs of one series and K, each with its term; all numbers times `scale`."""
    subsets: dict[str, list[Term]] = {}
    images: dict[str, Run] = {}
    for run, term in zip(runs, terms, strict=True):
        other = images.setdefault(run.subset, run)
        if not np.array_equal(run.index, other.index):
            raise UserError(f"{run.name} and {other.name} have the same classes and were tested on different images")
        subsets.setdefault(run.subset, []).append(term)
    estimated = estimate(subsets, sampling)
    return Point(
        series=runs[0].series,
        k=runs[0].classes,
        name=name,
        title=title,
        seeds=len({run.seed for run in runs}),
        subsets=len(subsets),
        runs=len(runs),
        mean=estimated.mean * scale,
        sd=None if estimated.sd is None else estimated.sd * scale,
        low=estimated.low * scale,
        high=estimated.high * scale,
        covers=estimated.covers,
    )


def accuracy(runs: Sequence[Run], sampling: Sampling) -> list[Point]:
    """Every arm's accuracy at every K, over the runs that have the arm."""
    points = []
    for group in by_series_and_classes(runs).values():
        for arm in dict.fromkeys(arm for run in group for arm in run.right):
            having = [run for run in group if arm in run.right]
            terms = [(run.right[arm], None) for run in having]
            points.append(_point(arm, having[0].titles[arm], having, terms, sampling))
    return points


def agreed_cells(runs: Sequence[Run]) -> Mapping[str, str]:
    """The arm in each cell of the 2 x 2 table.

    Raises:
        UserError: the runs do not agree, as some lack the read-out that stands in the table of others.
    """
    first, *others = runs
    for run in others:
        if run.cells != first.cells:
            raise UserError(
                f"the 2 x 2 table holds {', '.join(first.cells.values())} in {first.name}, but"
                f" {', '.join(run.cells.values())} in {run.name}; choose runs that agree, or put a read-out that all"
                " have first in frozen.readouts"
            )
    return first.cells


def gaps(runs: Sequence[Run], sampling: Sampling) -> list[Point]:
    """The gap between arms at every K, by name.

    `lead` is the question's: fine-tuned ResNet less frozen ConvNeXt. The other cells of the 2 x 2 table are compared
    with the frozen ConvNeXt too, under their own names. `architecture`, `finetuning` and `interaction` are the effects
    of `intervals.EFFECTS`, where all four cells were run.
    """
    cells = agreed_cells(runs)
    first, second = design.QUESTION
    chosen: dict[str, tuple[str, Mapping[str, float]]] = {}
    for cell in (first, *(cell for cell in cells if cell not in design.QUESTION)):
        title = f"{runs[0].titles[cells[cell]]} less {runs[0].titles[cells[second]]}"
        chosen["lead" if cell == first else cell] = (title, {cell: 1, second: -1})
    if len(cells) == 4:
        chosen |= {name: (f"effect: {name}", weights) for name, weights in intervals.EFFECTS.items()}
    return [
        _contrast(name, title, group, weights, sampling)
        for group, (name, (title, weights)) in product(by_series_and_classes(runs).values(), chosen.items())
    ]


def _contrast(name: str, title: str, runs: Sequence[Run], weights: Mapping[str, float], sampling: Sampling) -> Point:
    """A weighted sum of the cells' accuracies, whose weights differ in their signs alone."""
    (scale,) = {abs(weight) for weight in weights.values()}
    terms = []
    for run in runs:
        plus, minus = (
            sum(run.right[run.cells[cell]].astype(np.int8) for cell, weight in weights.items() if weight * sign > 0)
            for sign in (1, -1)
        )
        terms.append((np.asarray(plus), np.asarray(minus)))
    return _point(name, title, runs, terms, sampling, scale)


def compute(runs: Sequence[Run]) -> Table:
    """Every arm's accuracy and cost at every K, means over runs; `front` marks the Pareto optimal arms.

    The cost is `train_macs`: the arithmetic of training, or of embedding the images that a frozen arm learns from.
    """
    rows: Table = []
    for (series, k), group in by_series_and_classes(runs).items():
        here: Table = []
        for arm in dict.fromkeys(arm for run in group for arm in run.right):
            having = [run for run in group if arm in run.right]
            row = {"series": series, "k": k, "name": arm, "title": having[0].titles[arm], "runs": len(having)}
            row["accuracy"] = float(np.mean([run.right[arm].mean() for run in having]))
            row["val_accuracy"] = float(np.mean([run.val_accuracy[arm] for run in having]))
            for cost in Cost.model_fields:
                row[cost] = float(np.mean([getattr(run.costs[arm], cost) for run in having]))
            here.append(row)
        costs = [(row["train_macs"], row["accuracy"]) for row in here]
        rows += [row | {"front": on} for row, on in zip(here, front(costs), strict=True)]
    return rows


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, accuracy) are Pareto optimal.

    A point is not if another costs at most as much, is at least as accurate, and is better in one of the two.
    """
    return [
        not any(c <= cost and a >= accuracy and (c < cost or a > accuracy) for c, a in points)
        for cost, accuracy in points
    ]


def base_classes(runs: Sequence[Run], sampling: Sampling) -> list[Point]:
    """The report's bars: fine-tuned ResNet and ConvNeXt with an untrained head at every K, tested on the base classes.

    All K outputs compete, as in the report. Only the series of the first K classes has the same base classes at every
    K; the others have no such bars. Where no untrained head was run, the 2 x 2 table's frozen ConvNeXt replaces it.
    """
    points = []
    for (series, _), group in by_series_and_classes(runs).items():
        if series != "first":
            continue
        cells = agreed_cells(group)
        head = "convnext.random_head"
        for arm in (cells["resnet.finetuned"], head if head in group[0].right else cells["convnext.frozen"]):
            having = [run for run in group if arm in run.right]
            cut = [run.labels < run.base_classes for run in having]
            terms = [(run.right[arm][part], None) for run, part in zip(having, cut, strict=True)]
            points.append(_point(arm, having[0].titles[arm], having, terms, sampling))
    return points


def describe(runs: Sequence[Run], sampling: Sampling) -> str:
    """In a line, which experiments a table or figure is made of."""
    subsets = len({(run.series, run.subset) for run in runs})
    drawn = f", {subsets} subsets of classes at a K" if subsets > 1 else ""
    seeds = len({run.seed for run in runs})
    level = f"{100 * sampling.confidence:g}% intervals"
    return f"{len(runs)} experiment{'s'[: len(runs) > 1]}, {seeds} seed{'s'[: seeds > 1]}{drawn}; {level}"


def missing(runs: Sequence[Run]) -> list[str]:
    """What these runs cannot show, a sentence each."""
    groups = by_series_and_classes(runs)
    sentences = []
    if len({k for _, k in groups}) == 1:
        sentences.append(f"Not shown: what more classes change; all runs have {runs[0].classes}.")
    single = [k for (_, k), group in groups.items() if len(group) == 1]
    if single:
        counts = ", ".join(map(str, dict.fromkeys(single)))
        sentences.append(f"Not shown: the spread over seeds at K = {counts}, run once; intervals cover test images.")
    if len(runs[0].cells) < 4:
        sentences.append("Not shown: the effects of architecture and fine-tuning, which need `controls: true`.")
    if all(series != "first" for series, _ in groups):
        sentences.append("Not shown: the report's bars, which need runs of the first K classes.")
    return sentences


def render(accuracies: Sequence[Point], gap: Sequence[Point]) -> str:
    """For the terminal: each arm's accuracy by K, with its standard deviation over runs, and the question's gap."""
    lines = []
    leads = {(point.series, point.k): point for point in gap if point.name == "lead"}
    for series in dict.fromkeys(point.series for point in accuracies):
        here = [point for point in accuracies if point.series == series]
        ks = sorted({point.k for point in here})
        cells = {(point.name, point.k): f"{point.mean:.3f}{_spread(point.sd)}" for point in here}
        titles = {point.name: point.title for point in here}
        width = max(map(len, titles.values()))
        lines.append(f"{f'series: {series}':<{width}}" + "".join(f"  {f'K = {k}':>13}" for k in ks))
        for name, title in titles.items():
            lines.append(f"{title:<{width}}" + "".join(f"  {cells.get((name, k), '-'):>13}" for k in ks))
        for k in ks:
            lead = leads[series, k]
            low, mean, high = (100 * value for value in (lead.low, lead.mean, lead.high))
            lines.append(f"K = {k}: {lead.title}: {mean:+.2f} [{low:+.2f}, {high:+.2f}] points")
    return "\n".join(lines)


def _spread(sd: float | None) -> str:
    return "" if sd is None else f" ±{sd:.3f}"
