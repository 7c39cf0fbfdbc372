"""Numbers and class names as a person reads them: the filters of the report page's template."""

import unicodedata
from collections.abc import Callable
from typing import Any

import humanize

from src.core.records import Interval

SHORT, FULL = 24, 500  # characters of a class name that are shown, and that its tooltip holds
THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def cut(text: object, length: int = SHORT) -> str:
    """One line of at most `length` characters, the last an ellipsis where some are missing; no control characters."""
    clean = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) == "Cc" else char for char in str(text))
    if len(clean) <= length:
        return clean
    # A joiner or an accent at the cut would stick to the ellipsis.
    kept = clean[: length - 1]
    while kept and unicodedata.category(kept[-1]) in ("Mn", "Me", "Cf"):
        kept = kept[:-1]
    return kept + "\N{HORIZONTAL ELLIPSIS}"


def percent(share: float | None, decimals: int = 1) -> str:
    """0.5 -> `50.0 %`."""
    return NOTHING if share is None else f"{100 * share:.{decimals}f}{THIN}%"


def interval(share: Interval, decimals: int = 1) -> str:
    """The bounds of a share, in per cent: `[73.9, 75.6]`."""
    return f"[{100 * share.low:.{decimals}f}, {100 * share.high:.{decimals}f}]"


def points(difference: float, decimals: int = 2) -> str:
    """A difference of two shares in points, always with its sign, except that zero has none."""
    text = f"{100 * abs(difference):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if difference < 0 else "+") + text


def points_interval(difference: Interval, decimals: int = 2) -> str:
    """The bounds of a difference in points: `[+7.20, +10.50]`."""
    return f"[{points(difference.low, decimals)}, {points(difference.high, decimals)}]"


def number(value: float | None, decimals: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{decimals}f}".replace("-", MINUS)


def at_most(share: float) -> str:
    """A share in points, of which there are no more than 100: `2.34 points`, `more than 100 points`."""
    return "more than 100 points" if share > 1 else f"{number(100 * share, 2)} points"


def signed(value: float, decimals: int = 2) -> str:
    """A number with its sign, except that zero has none."""
    return points(value / 100, decimals)


def count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def p_value(p: float) -> str:
    """Two digits, and below 0.0001 no more than that: `= 0.012`, `< 0.0001`."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def quantity(value: float | None) -> str:
    """Three digits and a prefix of the SI: 37,200,000 -> `37.2 M`."""
    if value is None:
        return NOTHING
    text = f"{value:.3g}" if abs(value) < 999.5 else humanize.metric(value, precision=3)
    return text.replace(" ", THIN)


def memory(size: float | None) -> str:
    """Bytes in binary units: 1536 -> `1.5 KiB`."""
    return NOTHING if size is None else humanize.naturalsize(size, binary=True).replace(" ", THIN)


def duration(seconds: float | None) -> str:
    """Seconds as `0.42 s`, `3 min 20 s` or `1 h 05 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 99.5:
        return f"{seconds:.3g}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest:02d}{THIN}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}{THIN}h {minutes:02d}{THIN}min"


def css(share: float) -> str:
    """A share as a percentage for a style attribute, kept within its box."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(cut, percent, interval, points, points_interval, at_most, signed, number, count),
        *(p_value, quantity, memory, duration, css),
    )
}
