"""The tables of the report page, from the records of all arms and of their comparison."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.core import design
from src.core.records import Environment, Interval, mean
from src.records.compare import ComparedArm, Comparison, Contrast, Pair
from src.records.evaluate import ClassScores, Evaluation, Evaluations
from src.records.tune import SearchSummaries

MOST_CLASSES = 20  # with more, no one reads a confusion matrix: the most confused pairs are shown instead
MOST_PAIRS = 15

ByArm = Mapping[str, Sequence[Evaluation]]  # `resnet.full`: what was measured of it, seed by seed


@dataclass(frozen=True)
class ArmRow:
    """One arm: what was measured of it under each seed and on average, and what the comparison says of it."""

    arm: ComparedArm
    seeds: Sequence[Evaluation]
    evaluation: Evaluation
    question: bool = False  # whether the question is about it
    best: bool = False  # whether it is the cell that was chosen on validation images

    @property
    def title(self) -> str:
        return self.arm.title

    @property
    def accuracy(self) -> Interval:
        return self.arm.accuracy

    @property
    def role(self) -> str:
        return design.split(self.arm.arm)[0]

    @property
    def adaptation(self) -> str:
        return design.split(self.arm.arm)[1]

    @property
    def finetuned(self) -> bool:
        return design.is_finetuned(self.arm.arm)

    @property
    def tried(self) -> int:
        """The number of its configurations."""
        return self.arm.configurations or 1

    @property
    def chosen(self) -> dict[str, list[float]]:
        """What was chosen on validation images, by name: every value that some seed chose."""
        values: dict[str, set[float | None]] = {"C": {one.c for one in self.seeds}, "k": {one.k for one in self.seeds}}
        named = {name: sorted(value for value in some if value is not None) for name, some in values.items()}
        return {name: some for name, some in named.items() if some}

    @property
    def convergence(self) -> list[str]:
        """What is said of the training of any seed, once."""
        return list(dict.fromkeys(one.convergence for one in self.seeds if one.convergence is not None))


Cells = Mapping[str, ArmRow]  # by name, `resnet.frozen`


@dataclass(frozen=True)
class SeedRow:
    """The question's difference under one seed, or over all of them with its interval."""

    name: str
    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Question:
    """The declared contrast, its two arms, and its rows on an axis that ends at `reach` on both sides.

    `shares` of the variance of one run: of the seed, the images, and both together; none with one seed.
    """

    contrast: Contrast
    arms: tuple[ArmRow, ArmRow]
    rows: Sequence[SeedRow]
    shares: Sequence[float]
    reach: float


@dataclass(frozen=True)
class EffectRow:
    """An effect of the 2 x 2 table, or another contrast; the axis that shows it ends at `reach` on both sides."""

    name: str
    contrast: Contrast
    reach: float


@dataclass(frozen=True)
class PairRow:
    """A pair of arms, with the same axis; `question` marks the pair that the question is about."""

    pair: Pair
    titles: tuple[str, str]
    question: bool
    reach: float


@dataclass(frozen=True)
class SearchRow:
    """The search of an arm's settings on validation images; `untuned` is the accuracy at the published rate.

    `at_edge`: the best is the smallest or the largest that was tried.
    """

    title: str
    configurations: int
    chosen: Mapping[str, Sequence[float]]
    at_edge: bool
    val_accuracy: float
    untuned: float | None
    train_macs: int
    train_seconds: float


@dataclass(frozen=True)
class ClassRow:
    """A class, its number of test images, and the scores of every cell on them."""

    name: str
    n: int
    cells: Sequence[ClassScores]


@dataclass(frozen=True)
class Count:
    """How many images of a class were given one answer, and their share of the class.

    `shade` is the square root of the share, so that a mistake of a few per cent is seen.
    """

    count: int
    share: float
    shade: float
    right: bool


@dataclass(frozen=True)
class Confused:
    """A mistake between two classes: how many images, and their share of the actual class."""

    actual: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix by actual class; for many classes `pairs` instead, the most frequent mistakes first."""

    rows: Mapping[str, Sequence[Count]]
    pairs: Sequence[Confused]


@dataclass(frozen=True)
class Machine:
    """A machine with its versions, and by the titles of the arms the seeds under which they were computed on it."""

    environment: Environment
    seeds: dict[str, list[int]]


def by_arm(comparison: Comparison, cells: Mapping[str, Evaluations]) -> dict[str, list[Evaluation]]:
    """The evaluations of every arm of the comparison, by its name, in the order of the seeds.

    Args:
        cells: the evaluations by cell.
    """
    by_name = {}
    for arm in comparison.arms:
        seeds = cells[design.cell(arm.arm)].seeds
        by_name[arm.arm] = [seeds[str(seed)][design.split(arm.arm)[1]] for seed in comparison.seeds]
    return by_name


def row(comparison: Comparison, evaluations: ByArm, name: str) -> ArmRow:
    """One arm by its name."""
    seeds = evaluations[name]
    marks = name in comparison.primary.weights, name == comparison.best
    return ArmRow(comparison.arm(name), seeds, mean(seeds), *marks)


def cells(comparison: Comparison, evaluations: ByArm) -> dict[str, ArmRow]:
    """The cells of the 2 x 2 table that were run, by name."""
    names = {cell: comparison.cells[cell] for cell in design.CELLS if cell in comparison.cells}
    return {cell: row(comparison, evaluations, name) for cell, name in names.items()}


def question(comparison: Comparison, evaluations: ByArm) -> Question:
    """The declared contrast: each seed's own difference, and the one over all seeds."""
    primary = comparison.primary
    first, second = (row(comparison, evaluations, name) for name in primary.weights)
    several = len(primary.seeds) > 1
    each = [SeedRow(f"seed {seed}", value, None) for seed, value in primary.seeds.items()] if several else []
    mean = SeedRow("all seeds" if several else "one seed", primary.difference.value, primary.difference)
    bounds = [*primary.seeds.values(), primary.difference.low, primary.difference.high, comparison.margin]
    parts = primary.parts
    variances = [] if parts.seeds is None else [parts.seeds, parts.images, parts.residual or 0.0]
    shares = [part / (sum(variances) or 1.0) for part in variances]
    return Question(primary, (first, second), [*each, mean], shares, max(map(abs, bounds)))


def effects(comparison: Comparison) -> list[EffectRow]:
    """The effects of the 2 x 2 table, if all four cells were run."""
    return _family(comparison.effects, comparison.margin)


def contrasts(comparison: Comparison) -> list[EffectRow]:
    """The declared contrasts of backbones."""
    return _family(comparison.contrasts, comparison.margin)


def _family(contrasts: Mapping[str, Contrast], margin: float) -> list[EffectRow]:
    reach = _reach([margin, *_bounds(contrast.difference for contrast in contrasts.values())])
    return [EffectRow(name, contrast, reach) for name, contrast in contrasts.items()]


def pairs(comparison: Comparison) -> list[PairRow]:
    """Every pair of arms."""
    titles = {arm.arm: arm.title for arm in comparison.arms}
    asked = set(comparison.primary.weights)
    reach = _reach(_bounds(pair.difference for pair in comparison.pairs))
    return [
        PairRow(pair, (titles[pair.first], titles[pair.second]), {pair.first, pair.second} == asked, reach)
        for pair in comparison.pairs
    ]


def _bounds(differences: Iterable[Interval]) -> list[float]:
    return [bound for part in differences for bound in (part.low, part.high)]


def _reach(bounds: Iterable[float]) -> float:
    """The end of an axis that holds all of them."""
    return max(map(abs, bounds))


def all_arms(comparison: Comparison, evaluations: ByArm) -> list[ArmRow]:
    """All arms, the most accurate first."""
    rows = [row(comparison, evaluations, arm.arm) for arm in comparison.arms]
    return sorted(rows, key=lambda arm: -arm.accuracy.value)


def searches(tuned: SearchSummaries, comparison: Comparison, evaluations: ByArm) -> list[SearchRow]:
    """The searches of fine-tuned arms, and under each seed of linear probes; none if nothing was tuned."""
    rows = []
    for role in design.ROLES if tuned.backbones else ():
        if search := tuned.backbones.get(role):
            title = comparison.arm(comparison.cells[f"{role}.finetuned"]).title
            found = search.configurations, {"lr": [search.lr]}, search.at_edge
            cost = search.train_macs, search.train_seconds
            rows.append(SearchRow(title, *found, search.val_accuracy, search.first_val_accuracy, *cost))
        if probe := _probe(comparison, evaluations, f"{role}.linear"):
            rows.append(probe)
    return rows


def _probe(comparison: Comparison, evaluations: ByArm, name: str) -> SearchRow | None:
    """A linear probe's search; None if there is no such arm, or it had no choice."""
    if name not in evaluations:
        return None
    probe = row(comparison, evaluations, name)
    found = probe.evaluation
    if not found.tried or found.configurations is None or found.val_accuracy is None:
        return None
    at_edge = any(one.at_edge for one in probe.seeds)
    cost = found.train_macs, found.train_seconds
    return SearchRow(probe.title, found.configurations, probe.chosen, at_edge, found.val_accuracy, None, *cost)


def per_class(cells: Cells) -> list[ClassRow]:
    """Every class."""
    columns = [cell.evaluation.per_class for cell in cells.values()]
    return [ClassRow(scores[0].name, scores[0].n, scores) for scores in zip(*columns, strict=True)]


def confusions(cells: Cells, classes: list[str]) -> dict[str, Confusion]:
    """The confusion of each cell, by its name."""
    return {name: confusion(cell.evaluation.confusion, classes) for name, cell in cells.items()}


def confusion(counts: list[list[int]], classes: list[str]) -> Confusion:
    """A confusion matrix (K, K), actual class by row; of more than MOST_CLASSES classes the most frequent mistakes."""
    matrix = np.array(counts)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)  # (K, K)
    if len(classes) <= MOST_CLASSES:
        return Confusion({name: _counts(label, matrix, share) for label, name in enumerate(classes)}, [])
    mistakes = np.where(np.eye(len(classes), dtype=bool), 0, matrix)
    largest = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [
        Confused(classes[row], classes[column], int(count), float(share[row, column]))
        for row, column in zip(*np.unravel_index(largest, matrix.shape), strict=True)
        if (count := mistakes[row, column])
    ]
    return Confusion({}, pairs)


def _counts(label: int, matrix: np.ndarray, share: np.ndarray) -> list[Count]:
    row = enumerate(share[label].tolist())
    return [Count(int(matrix[label, other]), part, part**0.5, other == label) for other, part in row]


def environments(comparison: Comparison, evaluations: ByArm) -> list[Machine]:
    """Each machine and set of versions, with the arms that were evaluated on it under some seed."""
    machines: list[Machine] = []
    for arm in comparison.arms:
        for seed, evaluation in zip(comparison.seeds, evaluations[arm.arm], strict=True):
            environment = evaluation.environment
            machine = next((known for known in machines if known.environment == environment), None)
            if machine is None:
                machine = Machine(environment, {})
                machines.append(machine)
            machine.seeds.setdefault(arm.title, []).append(seed)
    return machines
