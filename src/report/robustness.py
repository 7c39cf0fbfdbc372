"""The section of the report page on robustness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.core.design import OOD_SCORES
from src.core.records import Interval
from src.records.robustness import CorruptedArm, Effect, OodArm, RobustnessResults

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
class Section:
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


def section(results: RobustnessResults) -> Section:
    """The tables of corruptions, attacks and unknown images, arm by arm."""
    attacks = dict.fromkeys(row.attack for row in results.adversarial)
    reasons: dict[str, list[str]] = {}
    for name, why in results.unavailable.items():
        reasons.setdefault(why, []).append(name)
    return Section(
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
