"""What runs of a sweep say, and what they cannot say, in words. For `python -m stages.scaling`."""

from collections.abc import Sequence

from src import scaling
from src.scaling import Point, Run, Sampling


def describe(runs: Sequence[Run], sampling: Sampling) -> str:
    """In a line, what a table or picture is made of."""
    subsets = len({(run.series, run.subset) for run in runs})
    drawn = f", {subsets} subsets of classes at a K" if subsets > 1 else ""
    seeds = len({run.seed for run in runs})
    level = f"{100 * sampling.confidence:g}% intervals"
    return f"{len(runs)} experiment{'s'[: len(runs) > 1]}, {seeds} seed{'s'[: seeds > 1]}{drawn}; {level}"


def missing(runs: Sequence[Run]) -> list[str]:
    """What these runs cannot show, a sentence each."""
    groups = scaling.grouped(runs)
    found = []
    if len({k for _, k in groups}) == 1:
        found.append(f"Not shown: what more classes change; all runs have {runs[0].classes}.")
    single = [k for (_, k), group in groups.items() if len(group) == 1]
    if single:
        counts = ", ".join(map(str, dict.fromkeys(single)))
        found.append(f"Not shown: the spread over seeds at K = {counts}, run once; intervals cover test images.")
    if len(runs[0].cells) < 4:
        found.append("Not shown: the effects of architecture and fine-tuning, which need `controls: true`.")
    if all(series != "first" for series, _ in groups):
        found.append("Not shown: the report's bars, which need runs of the first K classes.")
    return found


def render(accuracies: Sequence[Point], gap: Sequence[Point]) -> str:
    """For the terminal: each arm's accuracy by K, with its standard deviation over runs, and the question's gap."""
    lines = []
    leads = {(point.series, point.k): point for point in gap if point.name == "lead"}
    for series in dict.fromkeys(point.series for point in accuracies):
        here = [point for point in accuracies if point.series == series]
        ks = sorted({point.k for point in here})
        cells = {(point.name, point.k): f"{point.mean:.3f}{_spread(point.sd)}" for point in here}
        titles = {point.name: point.title for point in here}
        width = max(map(len, titles.values()))
        lines.append(f"{f'series: {series}':<{width}}" + "".join(f"  {f'K = {k}':>13}" for k in ks))
        for name, title in titles.items():
            lines.append(f"{title:<{width}}" + "".join(f"  {cells.get((name, k), '-'):>13}" for k in ks))
        for k in ks:
            lead = leads[series, k]
            low, mean, high = (100 * value for value in (lead.low, lead.mean, lead.high))
            lines.append(f"K = {k}: {lead.title}: {mean:+.2f} [{low:+.2f}, {high:+.2f}] points")
    return "\n".join(lines)


def _spread(sd: float | None) -> str:
    return "" if sd is None else f" ±{sd:.3f}"
