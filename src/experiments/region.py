"""Where each side of the question is ahead: over classes, training images and pixels, see `runs`.

Pure functions of runs: a word for every condition, a test of trend along every axis, and where the sides cross.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from src.core.records import Interval
from src.experiments.agree import listed
from src.experiments.runs import Condition, Run, by_condition, clusters, joined
from src.experiments.scaling import AXES, Axis, Level, images_named, images_of, sides
from src.records.compare import Word
from src.stats import contrasts, intervals
from src.stats.contrasts import Answers, Weights
from src.stats.crossed import Crossed

LEAST = 3  # conditions of a trend
STEPS = 33  # places on the way from one condition to the next at which the difference is looked at
AHEAD: Final = "ahead"
EQUIVALENT: Final = "equivalent within the margin"
OPEN: Final = "not settled"


@dataclass(frozen=True)
class Place:
    """The question's difference under one condition, with its interval, and the word for it.

    `p` and the interval are of this condition alone. `p_holm` and `p_equivalent`, adjusted by Holm's method over all
    conditions, decide the word. `side` is the arm that is ahead.
    """

    condition: Condition
    images: float
    difference: Interval
    p: float
    p_holm: float
    p_equivalent: float
    word: Word
    side: str | None

    @property
    def text(self) -> str:
        return f"{self.side} ahead" if self.side else self.word


def places(runs: Sequence[Run], level: Level) -> list[Place]:
    """The word for every condition.

    One side is *ahead* if p_holm < 1 - confidence, else both are *equivalent* if p_equivalent is, else it is *not
    settled*. A single seed settles nothing: the next seed may give another network.
    """
    groups = by_condition(runs)
    question = runs[0].question
    found = {
        condition: contrasts.contrast(answers, question, level.confidence)
        for condition, group in groups.items()
        if (answers := clusters(group, question))
    }
    p = intervals.holm([result.p for result in found.values()])
    same = intervals.holm([result.equivalent(level.margin) for result in found.values()])
    made = []
    for (condition, result), mine, theirs in zip(found.items(), p, same, strict=True):
        word = _word(result, mine, theirs, 1 - level.confidence)
        first, second = sides(groups[condition][0])
        side = None if word != AHEAD else first if result.value > 0 else second
        images = images_of(groups[condition])
        made.append(Place(condition, images, result.interval, result.p, mine, theirs, word, side))
    return made


def _word(result: Crossed, p: float, p_equivalent: float, alpha: float) -> Word:
    if result.count == 1:
        return OPEN
    return AHEAD if p < alpha else EQUIVALENT if p_equivalent < alpha else OPEN


@dataclass(frozen=True)
class Line:
    """Runs along one axis, by position on it; the other axes are as in `first`."""

    axis: Axis
    first: Condition
    runs: Mapping[float, Sequence[Run]]

    def answers(self) -> list[Answers]:
        """The two sides' answers under all conditions, see `joined`."""
        return joined({str(at): clusters(group, group[0].question) for at, group in self.runs.items()})

    def weights(self, of_conditions: Sequence[float]) -> Weights:
        """The weights of a sum of the question's differences over conditions."""
        return {
            f"{arm}@{at}": sign * weight
            for (at, group), weight in zip(self.runs.items(), of_conditions, strict=True)
            for arm, sign in group[0].question.items()
        }

    def title(self) -> str:
        """`K, all images, 32 px`: the axis, and where the line lies on the others."""
        at = self.first
        fixed = {"classes": f"K = {at.classes}", "shots": images_named(at.shots), "pixels": f"{at.pixels} px"}
        rest = ", ".join(fixed[axis] for axis in AXES if axis != self.axis)
        return f"along {AXES[self.axis]} ({self.first.series}, {rest})"


def lines(runs: Sequence[Run]) -> list[Line]:
    """Every line of two or more conditions. Classes by name are not on an axis of class counts."""
    found: dict[tuple[Axis, tuple[Any, ...]], dict[float, list[Run]]] = {}
    groups = by_condition(runs)
    for axis in AXES:
        for condition, group in groups.items():
            if axis == "classes" and condition.series == "named":
                continue
            at = images_of(group) if axis == "shots" else float(getattr(condition, axis))
            others = tuple(value for name, value in condition._asdict().items() if name != axis)
            found.setdefault((axis, others), {})[at] = group
    return [
        Line(axis, next(iter(members.values()))[0].condition, dict(sorted(members.items())))
        for (axis, _), members in found.items()
        if len(members) > 1
    ]


@dataclass(frozen=True)
class Trend:
    """The slope of the question's difference along a line, for each doubling: in shares, and in log odds.

    Each p is adjusted by Holm's method over all lines.
    """

    line: str
    conditions: int
    points: Interval
    points_p: float
    log_odds: Interval
    log_odds_p: float


def trends(lines: Sequence[Line], confidence: float) -> list[Trend]:
    """The trends of all lines that have one, see `trend`."""
    found = [made for line in lines if (made := trend(line, confidence))]
    p, odds_p = (intervals.holm([getattr(made, name) for made in found]) for name in ("points_p", "log_odds_p"))
    return [
        replace(made, points_p=mine, log_odds_p=theirs) for made, mine, theirs in zip(found, p, odds_p, strict=True)
    ]


def trend(line: Line, confidence: float) -> Trend | None:
    """The least-squares slope over log2 of the axis, p not adjusted.

    It is a contrast of the conditions' means, so its interval and its test are those of any other difference. None for
    fewer than three conditions, or without two seeds (or subsets) that all conditions have.
    """
    if len(line.runs) < LEAST:
        return None
    places = np.log2(list(line.runs))
    slopes = (places - places.mean()) / ((places - places.mean()) ** 2).sum()
    answers = line.answers()
    if len(answers) < 2:
        return None
    weights = line.weights(slopes.tolist())
    points = contrasts.contrast(answers, weights, confidence)
    ratio = contrasts.log_odds(answers, weights, confidence)
    return Trend(line.title(), len(places), points.interval, points.p, ratio.interval, ratio.p)


@dataclass(frozen=True)
class Crossing:
    """Where the question's difference is 0 along a line. None for a bound beyond the conditions that were run.

    `before` and `after` are the arms that got more right on either side.
    """

    line: str
    at: float
    low: float | None
    high: float | None
    before: str
    after: str


def crossings(line: Line, confidence: float) -> list[Crossing]:
    """Every change of sign along a line, see `Crossing`; none without two seeds (or subsets) in common.

    Between conditions the difference is interpolated on the logarithm of the axis. The interval holds every place next
    to the crossing whose difference is not shown to be other than 0: the test is inverted, as Fieller (1954) does for a
    ratio, so that it covers as the intervals of differences do, and is open where they never exclude 0.
    """
    places, values, low, high = _path(line, confidence)
    signs = np.sign(values)
    known = np.flatnonzero(signs)
    changes = [(a, b) for a, b in pairwise(known) if signs[a] != signs[b]]
    first, second = sides(next(iter(line.runs.values()))[0])
    found = []
    for a, b in changes:
        at = _zero(places[[a, b]], values[[a, b]])
        bounds = _bound(places, low, high, range(a, -1, -1)), _bound(places, low, high, range(b, len(places)))
        arms = (first, second) if values[a] > 0 else (second, first)
        found.append(Crossing(line.title(), float(np.exp(at)), *bounds, *arms))
    return found


def _path(line: Line, confidence: float) -> tuple[np.ndarray, ...]:
    """Places on the logarithm of the axis, and the difference there with its interval."""
    answers, made = line.answers(), []
    places = np.log(list(line.runs))
    for start in range(len(places) - 1) if len(answers) > 1 else ():
        for share in np.linspace(0, 1, STEPS):
            both = np.zeros(len(places))
            both[start : start + 2] = 1 - share, share
            result = contrasts.contrast(answers, line.weights(both.tolist()), confidence)
            made.append((both @ places, result.value, result.low, result.high))
    return tuple(np.array(made).reshape(-1, 4).T)


def _zero(places: np.ndarray, values: np.ndarray) -> float:
    """Where the straight line through two points is 0."""
    return float(places[0] - values[0] * (places[1] - places[0]) / (values[1] - values[0]))


def _bound(places: np.ndarray, low: np.ndarray, high: np.ndarray, way: Sequence[int]) -> float | None:
    """The first place on the way where an interval excludes 0, interpolated; None if none does."""
    last = None
    for i in way:
        bound = low if low[i] > 0 else high if high[i] < 0 else None
        if bound is not None:
            if last is None or np.sign(bound[last]) == np.sign(bound[i]):
                return float(np.exp(places[i]))
            return float(np.exp(_zero(places[[last, i]], bound[[last, i]])))
        last = i
    return None


def render(places: Sequence[Place], level: Level, title: str) -> str:
    """The terminal's table: for each condition the difference in points, p and the word."""
    head = ("series", "K", "images", "px", "difference, points", "p", "Holm", "")
    table: list[tuple[str, ...]] = [head]
    for place in places:
        series, classes, shots, pixels = place.condition
        images = "all" if shots is None else str(shots)
        gap = points(place.difference)
        both = (f"{p:.2g}" for p in (place.p, place.p_holm))
        table.append((series, str(classes), images, str(pixels), gap, *both, place.text))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    many = f", Holm over {len(places)} conditions" if len(places) > 1 else ""
    margin = f"{100 * level.margin:g} point{'s'[: level.margin != 0.01]}"
    lines = [f"{title}; margin {margin}{many}"]
    lines += ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


def points(gap: Interval) -> str:
    """A difference in points with its interval: `+1.20 [+0.30, +2.10]`."""
    return f"{100 * gap.value:+.2f} [{100 * gap.low:+.2f}, {100 * gap.high:+.2f}]"


def render_lines(lines: Sequence[Line], trends: Sequence[Trend], crossings: Sequence[Crossing]) -> Iterator[str]:
    """The terminal's lines on trends and crossings of the question's difference."""
    if trends:
        yield f"trends, for each doubling{f'; p by Holm over {len(trends)} lines' if len(trends) > 1 else ''}"
    for row in trends:
        odds = f"{row.log_odds.value:+.2f} [{row.log_odds.low:+.2f}, {row.log_odds.high:+.2f}]"
        share = f"points {points(row.points)}, p = {row.points_p:.2g}"
        yield f"{row.line}: log odds {odds}, p = {row.log_odds_p:.2g}; {share}"
    for cross in crossings:
        yield f"crossing {cross.line}: {_place(cross)}, {cross.before} before, {cross.after} after"
    shown = {row.line for row in trends}
    if lost := [line.title() for line in lines if line.title() not in shown]:
        yield f"Not shown: a trend {listed(lost)}: it needs three conditions, and two seeds that all of them have."


def _place(cross: Crossing) -> str:
    low, high = ("open" if bound is None else f"{bound:.3g}" for bound in (cross.low, cross.high))
    return f"at {cross.at:.3g} [{low}, {high}]"
