"""What was found, in three sentences made from the numbers of metrics/compare.json.

The arms compared are those of the 2 x 2 table, or those two of its cells that were run.
"""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def sentences(result: Row) -> list[str]:
    """Which arm wins at this number of classes; by how much, with what certainty; at what cost.

    Args:
        result: `compare` of metrics/compare.json: `n`, `classes`, `confidence`, `arms`, `cells`, `lead` and `pairs`.
    """
    (cells,) = result["cells"]
    by_name = {arm["arm"]: arm for arm in result["arms"]}
    ranked = sorted((by_name[name] for name in cells.values()), key=lambda arm: -arm["accuracy"]["value"])
    best, second = ranked[:2]
    pair = _pair(result["pairs"], best["arm"], second["arm"])
    return [
        _winner(result, best, second, pair["difference"]),
        _margin(result, by_name, cells, pair),
        _cost(best, second),
    ]


def _pair(pairs: list[Row], first: str, second: str) -> dict[str, Any]:
    """Of two arms, the first less the second, whichever way round their pair is listed."""
    for pair in pairs:
        difference = pair["difference"]
        if (pair["first"], pair["second"]) == (first, second):
            return dict(pair)
        if (pair["first"], pair["second"]) == (second, first):
            # 0 less a zero is no negative zero.
            turned = {"value": 0 - difference["value"], "low": 0 - difference["high"], "high": 0 - difference["low"]}
            return {**pair, "first": first, "second": second, "difference": turned}
    raise ValueError(f"{first} and {second} are not compared")


def _winner(result: Row, best: Row, second: Row, gap: Row) -> str:
    digits = _digits(gap)
    share = [f"{arm['accuracy']['value']:.{digits}%}" for arm in (best, second)]
    at = f"At {_count(len(result['classes']), 'class', 'classes')}"
    if _covers_zero(gap):
        which = "the two best cells of the 2 x 2 table" if len(result["cells"][0]) > 2 else "the two arms compared"
        names = f"{_named(best)} ({share[0]}) and {_named(second)} ({share[1]})"
        return f"{at}: no difference shown between {names}, {which}."
    rest = f"next comes {_named(second)} with {share[1]}"
    return f"{at}, {_named(best)} wins with {share[0]} of the test images right; {rest}."


def _margin(result: Row, arms: Mapping[str, Row], cells: Mapping[str, str], pair: Row) -> str:
    tests = len(result["pairs"])
    holm = f" after Holm's adjustment for {tests:,} pairs" if tests > 1 else ""
    text = (
        f"The difference is {_points(pair['difference'], result['confidence'])}"
        f" on {_count(result['n'], 'test image', 'test images')}, exact McNemar {_p(pair['p_holm'])}{holm}"
    )
    own = cells["resnet.finetuned"], cells["convnext.frozen"]
    if {pair["first"], pair["second"]} == set(own):
        return f"{text}; this is one seed, and the interval covers the choice of test images alone."
    names = f"{_named(arms[own[0]])} less {_named(arms[own[1]])}"
    shown = "no difference shown in the report's own pair" if _covers_zero(result["lead"]) else "the report's own pair"
    gap = _points(result["lead"], result["confidence"], sign="+")
    return (
        f"{text}; {shown}, {names}: {gap}; this is one seed, and the intervals cover the choice of test images alone."
    )


def _cost(best: Row, second: Row) -> str:
    a, b = best["cost"], second["cost"]
    names = f"Compared with {_named(second)}, {_named(best)}"
    needs = f"needs {_times(a['macs'], b['macs'])} arithmetic, and it classifies"
    rate = _times(a["images_per_second"], b["images_per_second"])
    inference = f"{needs} {rate}{' number of' if 'same' in rate else ''} images per second."
    if not a["train_macs"] and not b["train_macs"]:
        return f"Neither {_named(best)} nor {_named(second)} needed training; per image the first {inference}"
    return f"{names} {_training(a, b)}; per image it {inference}"


def _training(a: Row, b: Row) -> str:
    """What adapting took; arms that train nothing have no MACs there, though setting them up takes a moment."""
    if not a["train_macs"]:
        return f"needed no training, instead of {_work(b)}"
    if not b["train_macs"]:
        return f"needed {_work(a)} of training, instead of none"
    return (
        f"needed {_times(a['train_macs'], b['train_macs'])} training arithmetic"
        f" and {_times(a['train_seconds'], b['train_seconds'])} training time"
        f" ({_seconds(a['train_seconds'])} against {_seconds(b['train_seconds'])})"
    )


def _work(cost: Row) -> str:
    return f"{cost['train_macs']:.1e} multiply-adds in {_seconds(cost['train_seconds'])}"


def _times(value: float, other: float) -> str:
    """A ratio of two positive numbers as it is said before a noun: `3.2x the`."""
    ratio = value / other
    if 0.95 <= ratio < 1.05:
        return "the same" if value == other else "about the same"
    if ratio < 0.001:
        return "under 0.001x the"
    digits = ",.0f" if ratio >= 9.95 else ".1f" if ratio > 1 else ".2g"
    return f"{ratio:{digits}}x the"


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s"


def _points(gap: Row, confidence: float, sign: str = "") -> str:
    digits = _digits(gap)
    value, low, high = (
        f"{100 * gap[part]:{form}.{digits}f}" for part, form in (("value", sign), ("low", "+"), ("high", "+"))
    )
    unit = "point" if value.lstrip("+-") == f"{1:.{digits}f}" else "points"
    return f"{value} {unit} ({100 * confidence:g}% interval {low} to {high})"


def _digits(gap: Row) -> int:
    """Decimals of a percentage: two where the interval is narrower than a point."""
    return 2 if gap["high"] - gap["low"] < 0.01 else 1


def _covers_zero(gap: Row) -> bool:
    return bool(gap["low"] <= 0 <= gap["high"])


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else "p = 1" if value == 1 else f"p = {value:.2g}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _named(arm: Row) -> str:
    """`resnet18, fine-tuned` as it stands in a sentence: `resnet18 (fine-tuned)`."""
    arch, words = arm["title"].split(", ", 1)
    return f"{arch[:-1]}; {words})" if arch.endswith(")") else f"{arch} ({words})"
