"""The verdict: sentences made from the numbers of a comparison, the answer to the declared question first."""

from src.core import design
from src.core.records import Interval
from src.records.compare import ComparedArm, Comparison, Contrast, Cost

MOST_SEEDS = 5  # whose own differences a sentence lists


def sentences(comparison: Comparison) -> list[str]:
    """The answer; what seeds make of it; the effects of the 2 x 2 table; which cell to take; at what cost."""
    first, second = (comparison.arm(name) for name in comparison.primary.weights)
    several = len(comparison.seeds) > 1
    answer = _answer(comparison, first, second) if several else _of_one_seed(comparison, first, second)
    seeds = _seeds(comparison) if several else ""
    every = [answer, seeds, _effects(comparison), _contrasts(comparison), _best(comparison)]
    return [sentence for sentence in every if sentence] + [_cost(first, second)]


def _answer(comparison: Comparison, first: ComparedArm, second: ComparedArm) -> str:
    primary, level = comparison.primary, 1 - comparison.confidence
    at = f"At {_count(len(comparison.classes), 'class', 'classes')}"
    over = f"{_count(len(comparison.seeds), 'seed', 'seeds')} and {_count(comparison.n, 'test image', 'test images')}"
    margin = f"the margin of {_plain(comparison.margin)}"
    if primary.word == "ahead":
        ahead, behind = (first, second) if primary.difference.value > 0 else (second, first)
        by = _points(_turned(primary.difference) if ahead is second else primary.difference, comparison.confidence)
        small = f", which is less than {margin}" if primary.p_equivalent < level else ""
        return f"{at}, {_named(ahead)} is ahead of {_named(behind)} by {by}, {_p(primary.p)}, over {over}{small}."
    gap = f"the first less the second is {_points(primary.difference, comparison.confidence, sign='+')}"
    if primary.word == "equivalent within the margin":
        return (
            f"{at}, {_named(first)} and {_named(second)} are equivalent within {margin} "
            f"(two one-sided tests, {_p(primary.p_equivalent)}): {gap} over {over}."
        )
    return (
        f"{at}, it is not settled whether {_named(first)} or {_named(second)} is ahead: {gap}, {_p(primary.p)}, over "
        f"{over}; the smallest difference that this run could have shown, with a probability of 0.8, is "
        f"{_plain(primary.detectable)}."
    )


def _of_one_seed(comparison: Comparison, first: ComparedArm, second: ComparedArm) -> str:
    """One seed makes one network of each recipe, so that it cannot say which recipe is better."""
    gap, p = comparison.primary.difference, comparison.primary.p
    at = f"At {_count(len(comparison.classes), 'class', 'classes')} and with one seed"
    images = _count(comparison.n, "test image", "test images")
    more = "which recipe is better needs more seeds"
    if p >= 1 - comparison.confidence:
        by = _points(gap, comparison.confidence, sign="+")
        names = f"{_named(first)} or {_named(second)}"
        return (
            f"{at}, it is not settled which of two networks gets more images right, {names}: the first less the second "
            f"is {by}, {_p(p)}, over the choice of {images} alone; {more}."
        )
    ahead, behind = (first, second) if gap.value > 0 else (second, first)
    by = _points(_turned(gap) if ahead is second else gap, comparison.confidence)
    return (
        f"{at}, this network of {_named(ahead)} got more of {images} right than that of {_named(behind)}, by {by}, "
        f"{_p(p)}, over the choice of images alone; {more}."
    )


def _seeds(comparison: Comparison) -> str:
    primary, parts = comparison.primary, comparison.primary.parts
    values = [f"{100 * value:+.1f}" for value in primary.seeds.values()]
    each = ", ".join(values[:-1]) + f" and {values[-1]}"
    if len(values) > MOST_SEEDS:
        ordered = sorted(primary.seeds.values())
        each = f"between {100 * ordered[0]:+.1f} and {100 * ordered[-1]:+.1f}"
    by_part = [part or 0.0 for part in (parts.seeds, parts.images, parts.residual)]
    shares = [f"{100 * part / sum(by_part):.0f} %" for part in by_part]
    odds = primary.log_odds
    return (
        f"Under each seed the first less the second is {each} points; of the variance of one such run {shares[0]} "
        f"comes from the seed, {shares[1]} from the choice of test images and {shares[2]} from both together. "
        f"As a difference of log odds it is {odds.value:+.2f} ({odds.low:+.2f} to {odds.high:+.2f})."
    )


def _effects(comparison: Comparison) -> str:
    if not comparison.effects:
        return ""
    each = "; ".join(_effect(name, effect, comparison) for name, effect in comparison.effects.items())
    whose = "" if len(comparison.seeds) > 1 else " of these networks alone"
    return f"The effects of the 2 x 2 table{whose}, a family of three with p after Holm: {each}."


def _contrasts(comparison: Comparison) -> str:
    """The declared contrasts of backbones."""
    if not comparison.contrasts:
        return ""
    each = "; ".join(_effect(name, contrast, comparison) for name, contrast in comparison.contrasts.items())
    count = _count(len(comparison.contrasts), "declared contrast of backbones", "declared contrasts of backbones")
    whose = "" if len(comparison.seeds) > 1 else ", of these networks alone"
    return f"The {count}{whose}, with p after Holm: {each}."


def _effect(name: str, effect: Contrast, comparison: Comparison) -> str:
    points = _points(effect.difference, comparison.confidence, sign="+")
    text = f"{name}, {effect.title}: {points}, {_p(effect.p)}"
    if len(comparison.seeds) == 1:
        return text
    text += f", {effect.said}"
    if effect.word == "not settled":
        text += f" (could have shown {_plain(effect.detectable)})"
    if name == "interaction" and effect.word == "ahead" and effect.log_odds_p >= 1 - comparison.confidence:
        text += f", but not settled in log odds, {_p(effect.log_odds_p)}"
    return text


def _best(comparison: Comparison) -> str:
    if comparison.best is None or len(comparison.cells) < len(design.CELLS):
        return ""
    best = comparison.arm(comparison.best)
    share = best.accuracy
    return (
        f"Of the four cells {_named(best)} was right most often on validation images; of the test images it gets "
        f"{share.value:.1%} right ({100 * comparison.confidence:g}% interval {share.low:.1%} to {share.high:.1%})."
    )


def _cost(first: ComparedArm, second: ComparedArm) -> str:
    a, b = first.cost, second.cost
    needs = f"needs {_times(a.macs, b.macs)} arithmetic, and it classifies"
    rate = _times(a.images_per_second, b.images_per_second)
    inference = f"{needs} {rate}{' number of' if 'same' in rate else ''} images per second."
    if not a.train_macs and not b.train_macs:
        return f"Neither {_named(first)} nor {_named(second)} needed training; per image the first {inference}"
    names = f"Compared with {_named(second)}, {_named(first)}"
    return f"{names} {_training(a, b)}{_searched(first, second)}; per image it {inference}"


def _searched(first: ComparedArm, second: ComparedArm) -> str:
    """That the cost includes the search, where either arm has one."""
    tried = [arm.configurations or 1 for arm in (first, second)]
    if max(tried) == 1:
        return ""
    counts = f"{tried[0]} configurations each" if tried[0] == tried[1] else f"{tried[0]} and {tried[1]} configurations"
    return f", the search of settings among {counts} included"


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


def _turned(gap: Interval) -> Interval:
    return Interval(-gap.value, -gap.high, -gap.low)


def _plain(share: float) -> str:
    """A share of the test images in points: `1 point`, `2.35 points`."""
    if share > 1:  # few seeds that differ much could have shown no difference that two arms can have
        return "more than 100 points"
    value = f"{100 * share:.3g}"
    return f"{value} {'point' if value == '1' else 'points'}"


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
