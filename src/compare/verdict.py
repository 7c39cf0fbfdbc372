"""The verdict: three sentences made from the numbers of a comparison.

The arms compared are those of the 2 x 2 table, or those two of its cells that were run.
"""

from dataclasses import replace

from src.core.records import Interval, Pair
from src.records.compare import ComparedArm, Comparison, Cost


def sentences(comparison: Comparison) -> list[str]:
    """Which arm wins at this number of classes; by how much, with what certainty; at what cost."""
    cells = [comparison.arm(name) for name in comparison.cells.values()]
    best, second, *_ = sorted(cells, key=lambda arm: -arm.accuracy.value)
    pair = _pair(comparison.pairs, best.arm, second.arm)
    return [_winner(comparison, best, second, pair.difference), _margin(comparison, pair), _cost(best, second)]


def _pair(pairs: list[Pair], first: str, second: str) -> Pair:
    """The pair of two arms, turned if it is listed the other way round."""
    for pair in pairs:
        if (pair.first, pair.second) == (first, second):
            return pair
        if (pair.first, pair.second) == (second, first):
            gap = pair.difference
            turned = Interval(0 - gap.value, 0 - gap.high, 0 - gap.low)  # 0 less a zero is no negative zero
            return replace(pair, first=first, second=second, difference=turned)
    raise ValueError(f"{first} and {second} are not compared")


def _winner(comparison: Comparison, best: ComparedArm, second: ComparedArm, gap: Interval) -> str:
    digits = _digits(gap)
    share = [f"{arm.accuracy.value:.{digits}%}" for arm in (best, second)]
    at = f"At {_count(len(comparison.classes), 'class', 'classes')}"
    if gap.covers_zero:
        which = "the two best cells of the 2 x 2 table" if len(comparison.cells) > 2 else "the two arms compared"
        names = f"{_named(best)} ({share[0]}) and {_named(second)} ({share[1]})"
        return f"{at}: no difference shown between {names}, {which}."
    rest = f"next comes {_named(second)} with {share[1]}"
    return f"{at}, {_named(best)} wins with {share[0]} of the test images right; {rest}."


def _margin(comparison: Comparison, pair: Pair) -> str:
    tests = len(comparison.pairs)
    holm = f" after Holm's adjustment for {tests:,} pairs" if tests > 1 else ""
    text = (
        f"The difference is {_points(pair.difference, comparison.confidence)}"
        f" on {_count(comparison.n, 'test image', 'test images')}, exact McNemar {_p(pair.p_holm)}{holm}"
    )
    own = [comparison.arm(comparison.cells[cell]) for cell in ("resnet.finetuned", "convnext.frozen")]
    if {pair.first, pair.second} == {arm.arm for arm in own}:
        return f"{text}; this is one seed, and the interval covers the choice of test images alone."
    names = f"{_named(own[0])} less {_named(own[1])}"
    none = "no difference shown in the report's own pair"
    shown = none if comparison.lead.covers_zero else "the report's own pair"
    gap = _points(comparison.lead, comparison.confidence, sign="+")
    return (
        f"{text}; {shown}, {names}: {gap}; this is one seed, and the intervals cover the choice of test images alone."
    )


def _cost(best: ComparedArm, second: ComparedArm) -> str:
    a, b = best.cost, second.cost
    names = f"Compared with {_named(second)}, {_named(best)}"
    needs = f"needs {_times(a.macs, b.macs)} arithmetic, and it classifies"
    rate = _times(a.images_per_second, b.images_per_second)
    inference = f"{needs} {rate}{' number of' if 'same' in rate else ''} images per second."
    if not a.train_macs and not b.train_macs:
        return f"Neither {_named(best)} nor {_named(second)} needed training; per image the first {inference}"
    return f"{names} {_training(a, b)}; per image it {inference}"


def _training(a: Cost, b: Cost) -> str:
    """The cost of training. An arm without training has no MACs, but a moment of set-up time."""
    if not a.train_macs:
        return f"needed no training, instead of {_work(b)}"
    if not b.train_macs:
        return f"needed {_work(a)} of training, instead of none"
    return (
        f"needed {_times(a.train_macs, b.train_macs)} training arithmetic"
        f" and {_times(a.train_seconds, b.train_seconds)} training time"
        f" ({_seconds(a.train_seconds)} against {_seconds(b.train_seconds)})"
    )


def _work(cost: Cost) -> str:
    return f"{cost.train_macs:.1e} multiply-adds in {_seconds(cost.train_seconds)}"


def _times(value: float, other: float) -> str:
    """A ratio of two positive numbers as words before a noun: `3.2x the`."""
    ratio = value / other
    if 0.95 <= ratio < 1.05:
        return "the same" if value == other else "about the same"
    if ratio < 0.001:
        return "under 0.001x the"
    digits = ",.0f" if ratio >= 9.95 else ".1f" if ratio > 1 else ".2g"
    return f"{ratio:{digits}}x the"


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s"


def _points(gap: Interval, confidence: float, sign: str = "") -> str:
    digits = _digits(gap)
    value = f"{100 * gap.value:{sign}.{digits}f}"
    unit = "point" if value.lstrip("+-") == f"{1:.{digits}f}" else "points"
    return (
        f"{value} {unit} ({100 * confidence:g}% interval {100 * gap.low:+.{digits}f} to {100 * gap.high:+.{digits}f})"
    )


def _digits(gap: Interval) -> int:
    """Decimals of a percentage: two where the interval is narrower than a point."""
    return 2 if gap.high - gap.low < 0.01 else 1


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else "p = 1" if value == 1 else f"p = {value:.2g}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _named(arm: ComparedArm) -> str:
    """An arm's title for a sentence: `resnet18, fine-tuned` -> `resnet18 (fine-tuned)`."""
    arch, words = arm.title.split(", ", 1)
    return f"{arch[:-1]}; {words})" if arch.endswith(")") else f"{arch} ({words})"
