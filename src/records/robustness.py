"""What the measurement of robustness leaves in `data/results/robustness.json`."""

from typing import Any

from src.core import design
from src.core.records import Environment, Interval, Record


class CorruptedArm(Record):
    """One arm's accuracy on the test images as they are, on corrupted ones, and the `drop` between the two.

    `corrupted` is the mean over corruptions and severities, with parts of it: `families` by severity, `by_severity`
    over all, and `by_corruption` over severities.
    """

    arm: str
    title: str
    clean: Interval
    corrupted: Interval
    drop: Interval
    families: dict[str, list[float]]
    by_severity: list[float]
    by_corruption: dict[str, float]


class AttackedArm(Record):
    """One arm's accuracy under an attack of at most `epsilon` 255ths."""

    arm: str
    attack: str
    epsilon: float
    accuracy: Interval


class OodArm(Record):
    """How well one arm's score tells test images from `unknown` others, `near` or `far`.

    `fpr95` is the share of unknown images that pass where 95 in 100 test images do.
    """

    arm: str
    score: str
    against: str
    auroc: Interval
    fpr95: float
    unknown: int


class Effect(Record):
    """The question's difference, or an effect of the 2 x 2 table, on one measure of robustness."""

    measure: str
    effect: str
    difference: Interval


class AttackCheck(Record):
    """Whether a stronger attack does at least as well as a weaker one (`than`).

    `helped` images are right under the stronger attack alone, `hurt` ones under the weaker alone; `p` is that of the
    exact sign test for so many helped, or more.
    """

    arm: str
    check: str
    attack: str
    epsilon: float
    than: str
    than_epsilon: float
    helped: int
    hurt: int
    p: float
    holds: bool


class AttackChecks(Record):
    """How many checks of the attacks were made and hold, and those that do not."""

    made: int
    hold: int
    broken: list[AttackCheck]


class RobustnessResults(Record):
    """Every arm on `n` of the test images: corrupted, attacked, and beside images of unknown classes.

    `far` says what the images of another dataset are; `unavailable` why something was not measured, by its name.
    """

    n: int
    severities: list[int]
    corruptions: list[CorruptedArm]
    adversarial: list[AttackedArm]
    ood: list[OodArm]
    effects: list[Effect]
    checks: AttackChecks
    far: str
    unavailable: dict[str, str]
    environment: Environment

    def numbers(self) -> dict[str, Any]:
        """By role and adaptation a few numbers of each cell's first arm, with the first epsilon and the score msp."""
        found = [(row.arm, "corrupted", row.corrupted.value) for row in self.corruptions]
        found += [
            (row.arm, "adversarial", row.accuracy.value)
            for row in self.adversarial
            if row.attack == "worst" and row.epsilon == self.adversarial[0].epsilon
        ]
        found += [(row.arm, f"{row.against}_auroc", row.auroc.value) for row in self.ood if row.score == "msp"]
        first: dict[str, str] = {}
        numbers: dict[str, dict[str, dict[str, float]]] = {}
        for arm, name, value in found:
            if first.setdefault(design.cell(arm), arm) == arm:
                role, adaptation = design.split(arm)
                numbers.setdefault(role, {}).setdefault(adaptation, {})[name] = value
        return numbers
