"""What each choice of the report was worth: steps of the ladder, and choices undone from `fair`, as pure functions.

Every difference is paired: the same seed and the same test image on both sides, with an interval over both by
`stats.crossed`. The legacy arm is fine-tuned, the modern one frozen; the lead is the accuracy of the first less that of
the second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from src.compare import questions
from src.core.errors import UserError
from src.stats.crossed import DIFFERENCE, SHARE, Crossed, Row, crossed

Measure = Literal["legacy", "modern", "lead"]


@dataclass(frozen=True)
class Measured:
    """A rung after its experiment was run: which test images (n,) both arms got right, 0 or 1, by seed.

    `index` (n,) says which images.
    """

    words: str
    index: np.ndarray
    legacy: Mapping[int, np.ndarray]
    modern: Mapping[int, np.ndarray]

    def of(self, measure: Measure) -> dict[int, np.ndarray]:
        """An arm's right answers, or for the lead 1, 0 or -1, by seed."""
        if measure != "lead":
            return dict(getattr(self, measure))
        return {seed: right - self.modern[seed] for seed, right in self.legacy.items()}

    def value(self, measure: Measure, confidence: float) -> Crossed:
        """Its mean with an interval over seeds and test images."""
        rows = [Row(str(seed), self.index, values) for seed, values in self.of(measure).items()]
        return crossed(rows, confidence, DIFFERENCE if measure == "lead" else SHARE)


def less(after: Measured, before: Measured, measure: Measure, confidence: float) -> Crossed:
    """The difference of two rungs, paired by seed and test image.

    Raises:
        UserError: they were measured on different images or under different seeds.
    """
    here, there = after.of(measure), before.of(measure)
    if not np.array_equal(after.index, before.index) or here.keys() != there.keys():
        raise UserError(
            f"'{after.words}' and '{before.words}' have different test images or seeds, so that they cannot be paired; "
            "run all rungs with the same -S and --seeds"
        )
    return crossed([Row(str(seed), after.index, here[seed] - there[seed]) for seed in here], confidence)


@dataclass(frozen=True)
class Worth:
    """What one choice is worth, for the legacy arm and the lead: in its place on the ladder, and undone from `fair`.

    Both are the fair choice less the report's. What stands beyond `fair` has no second part.
    """

    words: str
    legacy: Crossed
    lead: Crossed
    undone_legacy: Crossed | None = None
    undone_lead: Crossed | None = None


@dataclass(frozen=True)
class Ladder:
    """All rungs from the report's to the fair one, what each change is worth, and larger images than the fair ones."""

    rungs: Sequence[Measured]
    worths: Sequence[Worth]
    beyond: Sequence[Worth]
    confidence: float

    def ends(self, measure: Measure) -> tuple[Crossed, Crossed]:
        """The first and the last rung."""
        first, last = (self.rungs[place].value(measure, self.confidence) for place in (0, -1))
        return first, last


def ladder(
    rungs: Sequence[Measured],
    undone: Sequence[tuple[Measured, Measured]],
    beyond: Sequence[Measured],
    confidence: float,
) -> Ladder:
    """Compare neighbours on the ladder, and `fair` with what each choice undone leaves of it.

    Args:
        undone: for each change the rung where it is undone, and the one that it is compared with.
    """
    worths = [
        Worth(
            after.words,
            *(less(after, before, measure, confidence) for measure in ("legacy", "lead")),
            *(less(fair, without, measure, confidence) for measure in ("legacy", "lead")),
        )
        for (before, after), (without, fair) in zip(pairwise(rungs), undone, strict=True)
    ]
    more = [
        Worth(rung.words, *(less(rung, rungs[-1], measure, confidence) for measure in ("legacy", "lead")))
        for rung in beyond
    ]
    return Ladder(rungs, worths, more, confidence)


def word(lead: Crossed, margin: float) -> str:
    """What a lead comes to, by the rule of every comparison; of the legacy arm, so that it may be `behind` too."""
    found = questions.word(lead.p, lead.equivalent(margin), lead)
    return "behind" if found == "ahead" and lead.value < 0 else found


def sentences(found: Ladder, legacy: str, modern: str, margin: float) -> list[str]:
    """Three sentences: does the report's conclusion stand, which choice carried it, and what one seed would have said.

    Args:
        legacy, modern: the arms' names.
    """
    first, last = found.ends("lead")
    return [
        f"{_stands(first, last, margin)}: under the fair protocol {_outcome(last, legacy, modern, margin)}.",
        _carried(found),
        _one_seed(last),
    ]


def points(part: Crossed) -> str:
    """`+1.2 [+0.3, +2.1]`, in points."""
    return f"{100 * part.value:+.1f} [{100 * part.low:+.1f}, {100 * part.high:+.1f}]"


def _stands(first: Crossed, last: Crossed, margin: float) -> str:
    """What becomes of the report's conclusion, that the legacy arm is ahead; and whether its own protocol shows it."""
    if word(first, margin) != "ahead":
        return "By the report's own protocol the legacy arm is not shown ahead here"
    outcome = {"ahead": "stands", "behind": "is reversed", "not settled": "is not settled"}
    return f"The report's conclusion {outcome.get(word(last, margin), 'does not stand')} once it is fair"


def _outcome(lead: Crossed, legacy: str, modern: str, margin: float) -> str:
    what, by = word(lead, margin), f"{points(lead)} points"
    if what in ("ahead", "behind"):
        return f"{legacy} is {what}{' of' if what == 'ahead' else ''} {modern}: {by}"
    if what == "not settled":
        return (
            f"{legacy} less {modern} is {by}, which is not settled: such a run finds a difference of "
            f"{100 * lead.detectable():.1f} points with a probability of 0.8"
        )
    return f"{legacy} and {modern} are equivalent within the margin of {100 * margin:g} points ({by})"


def _carried(found: Ladder) -> str:
    """The choice that changed the lead most, on the ladder and undone from `fair`."""
    first, last = found.ends("lead")
    most = max(found.worths, key=lambda worth: abs(worth.lead.value))
    text = (
        f"Of the way from {100 * first.value:+.1f} to {100 * last.value:+.1f} points, the largest step is "
        f"'{most.words}': {points(most.lead)}"
    )
    undone = most.undone_lead
    if undone is None or undone.count < 2 or undone.p >= 1 - undone.confidence:
        return f"{text}; undone alone from fair, its worth is not settled."
    without = last.value - undone.value
    turned = " and has the other sign" if without * last.value < 0 else ""
    return (
        f"{text}; with it alone undone from fair, the lead is {100 * without:+.1f} instead of {100 * last.value:+.1f} "
        f"points{turned}."
    )


def _one_seed(lead: Crossed) -> str:
    """What the number of seeds is worth, from the same runs."""
    if lead.sd is None:
        return "All runs are of one seed: what another seed would say is not known, and needs --seeds 0 1 2 3 4."
    turned = sum(value * lead.value <= 0 for value in lead.each.values())
    return (
        f"One seed or {lead.count}: the lead of a single seed has a standard deviation of {100 * lead.sd:.1f} points, "
        f"that of the mean of {lead.count} has {100 * lead.sd / lead.count**0.5:.1f}; the sign of the lead is another "
        f"one in {turned} of the {lead.count} seeds."
    )
