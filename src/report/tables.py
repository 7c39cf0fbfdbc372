"""The tables of the report page, from the records of all arms and of their comparison."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.core import design
from src.core.design import OOD_SCORES
from src.core.records import Environment, Interval
from src.records.compare import ComparedArm, Comparison, Pair
from src.records.evaluate import ClassScores, Evaluation, Evaluations
from src.records.robustness import CorruptedArm, Effect, OodArm, RobustnessResults
from src.records.tune import SearchSummaries

MOST_CLASSES = 20  # with more, no one reads a confusion matrix: the most confused pairs are shown instead
MOST_PAIRS = 15

ByArm = Mapping[str, Evaluation]  # `resnet.full`: what was measured of it


@dataclass(frozen=True)
class ArmRow:
    """One arm: what was measured of it, and what the comparison says of it."""

    arm: ComparedArm
    evaluation: Evaluation
    question: bool = False  # whether the report compared it
    best: bool = False  # whether it is the most accurate cell

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


Cells = Mapping[str, ArmRow]  # by name, `resnet.frozen`


@dataclass(frozen=True)
class EffectRow:
    """A difference; the axis that shows it ends at `reach` on both sides."""

    name: str
    difference: Interval
    reach: float


@dataclass(frozen=True)
class PairRow:
    """A pair of arms, with the same axis; `question` marks the pair that the report compared."""

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
    chosen: Mapping[str, float]
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
    """A machine with its versions, and the titles of the arms that were computed on it."""

    environment: Environment
    titles: list[str]


def by_arm(cells: Mapping[str, Evaluations]) -> dict[str, Evaluation]:
    """The evaluations of all cells by the names of their arms."""
    return {
        f"{design.split(cell)[0]}.{adaptation}": evaluation
        for cell, evaluations in cells.items()
        for adaptation, evaluation in evaluations.arms.items()
    }


def cells(comparison: Comparison, evaluations: ByArm) -> dict[str, ArmRow]:
    """The cells of the 2 x 2 table that were run, by name."""
    arms = {cell: comparison.arm(comparison.cells[cell]) for cell in design.CELLS if cell in comparison.cells}
    best = max(arm.accuracy.value for arm in arms.values())
    return {
        cell: ArmRow(arm, evaluations[arm.arm], cell in design.QUESTION, arm.accuracy.value == best)
        for cell, arm in arms.items()
    }


def effects(comparison: Comparison) -> list[EffectRow]:
    """The question's difference and, if all four cells were run, the effects of the 2 x 2 table."""
    differences = {"lead": comparison.lead, **comparison.effects}
    reach = _reach(differences.values())
    return [EffectRow(name, difference, reach) for name, difference in differences.items()]


def pairs(comparison: Comparison) -> list[PairRow]:
    """Every pair of arms."""
    titles = {arm.arm: arm.title for arm in comparison.arms}
    question = {comparison.cells[cell] for cell in design.QUESTION}
    reach = _reach(pair.difference for pair in comparison.pairs)
    return [
        PairRow(pair, (titles[pair.first], titles[pair.second]), {pair.first, pair.second} == question, reach)
        for pair in comparison.pairs
    ]


def _reach(differences: Iterable[Interval]) -> float:
    """The largest bound of all."""
    return max(abs(bound) for part in differences for bound in (part.low, part.high)) or 1.0


def all_arms(comparison: Comparison, evaluations: ByArm) -> list[ArmRow]:
    """All arms, the most accurate first."""
    rows = [ArmRow(arm, evaluations[arm.arm]) for arm in comparison.arms]
    return sorted(rows, key=lambda row: -row.accuracy.value)


def searches(tuned: SearchSummaries, comparison: Comparison, evaluations: ByArm) -> list[SearchRow]:
    """The searches of fine-tuned arms and of linear probes; none if nothing was tuned."""
    rows = []
    for role in design.ROLES if tuned.backbones else ():
        if search := tuned.backbones.get(role):
            title = comparison.arm(comparison.cells[f"{role}.finetuned"]).title
            found = search.configurations, {"lr": search.lr}, search.at_edge
            cost = search.train_macs, search.train_seconds
            rows.append(SearchRow(title, *found, search.val_accuracy, search.first_val_accuracy, *cost))
        probe = evaluations.get(f"{role}.linear")
        if probe and probe.configurations and probe.c is not None and probe.val_accuracy is not None:
            title, cost = comparison.arm(f"{role}.linear").title, (probe.train_macs, probe.train_seconds)
            found = probe.configurations, {"c": probe.c}, bool(probe.at_edge)
            rows.append(SearchRow(title, *found, probe.val_accuracy, None, *cost))
    return rows


def per_class(cells: Cells) -> list[ClassRow]:
    """Every class."""
    columns = [cell.evaluation.per_class for cell in cells.values()]
    return [ClassRow(row[0].name, row[0].n, row) for row in zip(*columns, strict=True)]


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
    """Each machine and set of versions."""
    machines: list[Machine] = []
    for arm in comparison.arms:
        environment = evaluations[arm.arm].environment
        machine = next((known for known in machines if known.environment == environment), None)
        if machine is None:
            machine = Machine(environment, [])
            machines.append(machine)
        machine.titles.append(arm.title)
    return machines


AGAINST = ("near", "far")
NO_ATTACKS = ("noise", "pgd_short", "worst")  # rows that are no attack of their own


@dataclass(frozen=True)
class CorruptedRow:
    """An arm on corrupted images, with each family's mean over severities."""

    arm: CorruptedArm
    means: Sequence[float]


@dataclass(frozen=True)
class AttackedRow:
    """An arm's accuracy by epsilon: under the worst of all attacks, and under noise."""

    title: str
    worst: Sequence[Interval]
    noise: Sequence[Interval]


@dataclass(frozen=True)
class OodRow:
    """An arm beside unknown images: near and far ones, by each score."""

    title: str
    cells: Sequence[OodArm]


@dataclass(frozen=True)
class RobustnessSection:
    """What the page's section on robustness shows. `unavailable` is by reason, with the names of what is missing."""

    results: RobustnessResults
    families: Sequence[str]
    corruptions: Sequence[CorruptedRow]
    epsilons: Sequence[float]
    attacks: Sequence[str]
    adversarial: Sequence[AttackedRow]
    scores: Sequence[str]
    against: Sequence[str]
    ood: Sequence[OodRow]
    question: Sequence[Effect]
    unavailable: Mapping[str, Sequence[str]]


def robustness_section(results: RobustnessResults) -> RobustnessSection:
    """The tables of corruptions, attacks and unknown images, arm by arm."""
    attacks = dict.fromkeys(row.attack for row in results.adversarial)
    reasons: dict[str, list[str]] = {}
    for name, why in results.unavailable.items():
        reasons.setdefault(why, []).append(name)
    return RobustnessSection(
        results=results,
        families=list(results.corruptions[0].families),
        corruptions=[
            CorruptedRow(row, [sum(values) / len(values) for values in row.families.values()])
            for row in results.corruptions
        ],
        epsilons=list(dict.fromkeys(row.epsilon for row in results.adversarial)),
        attacks=[name for name in attacks if name not in NO_ATTACKS],
        adversarial=_adversarial(results),
        scores=list(OOD_SCORES.values()),
        against=[kind for kind in AGAINST if any(row.against == kind for row in results.ood)],
        ood=_ood(results),
        question=[row for row in results.effects if row.effect == "question"],
        unavailable=reasons,
    )


def _adversarial(results: RobustnessResults) -> list[AttackedRow]:
    """Every arm that was attacked."""
    rows = []
    for arm in results.corruptions:
        worst, noise = (
            [row.accuracy for row in results.adversarial if (row.arm, row.attack) == (arm.arm, name)]
            for name in ("worst", "noise")
        )
        if worst:
            rows.append(AttackedRow(arm.title, worst, noise))
    return rows


def _ood(results: RobustnessResults) -> list[OodRow]:
    order = [(kind, score) for kind in AGAINST for score in OOD_SCORES]
    rows = []
    for arm in results.corruptions:
        cells = {(row.against, row.score): row for row in results.ood if row.arm == arm.arm}
        rows.append(OodRow(arm.title, [cells[key] for key in order if key in cells]))
    return rows
