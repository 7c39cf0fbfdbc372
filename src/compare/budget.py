"""How much of an arm's validation accuracy is owed to the number of configurations that were tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.core import design
from src.plotting import CELL_COLOURS, MARKERS, plain

COLUMNS = ("arm", "configurations", "expected_best")


def expected_best(accuracies: Sequence[float]) -> list[float]:
    """The expected best validation accuracy of n of N configurations, for n = 1 to N (Dodge et al. 2019).

    Dodge et al. draw the n with replacement, which is too low (Tang et al. 2020). A grid tries no configuration twice,
    so here they are drawn without: the mean of the largest over all subsets of n. Of the sorted accuracies
    v_1 <= ... <= v_N, v_i is the largest in C(i - 1, n - 1) of C(N, n) subsets.

    Args:
        accuracies: of each configuration; 0 where it gave no network.
    """
    values, count = sorted(accuracies), len(accuracies)
    return [
        sum(comb(rank, size - 1) * value for rank, value in enumerate(values)) / comb(count, size)
        for size in range(1, count + 1)
    ]


@dataclass(frozen=True)
class Curve:
    """An arm's expected best validation accuracy by the number of configurations, on `images` validation images."""

    title: str
    expected: list[float]


def rows(curves: Mapping[str, Curve]) -> list[tuple[str, int, float]]:
    """The curves as a table of COLUMNS."""
    return [(curve.title, number, value) for curve in curves.values() for number, value in enumerate(curve.expected, 1)]


def figure(curves: Mapping[str, Curve]) -> Figure:
    """Expected best validation accuracy against the number of configurations, a line for each arm by its name."""
    drawn = Figure(figsize=(7, 4), layout="constrained")
    axes = drawn.subplots()
    for name, curve in curves.items():
        axes.plot(
            range(1, len(curve.expected) + 1),
            curve.expected,
            color=CELL_COLOURS[design.cell(name)],
            marker=MARKERS[design.split(name)[0]],
            label=plain(curve.title),
        )
    axes.set(xlabel="configurations tried", ylabel="expected best validation accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(loc="outside lower center", ncols=2, frameon=False)
    return drawn
