"""What validation accuracy an arm reaches by the number of configurations that are tried."""

from collections.abc import Mapping, Sequence
from math import comb

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.core import design
from src.plotting import CELL_COLOURS, MARKERS, legend_below, plain
from src.records.evaluate import Evaluations
from src.records.tune import SearchSummaries

COLUMNS = ("configurations", "expected_best")


def tried(tuned: SearchSummaries, cells: Mapping[str, Evaluations], method: str, seed: int) -> dict[str, list[float]]:
    """The validation accuracy of each configuration, by arm: learning rates, and strengths of linear probes.

    A rate at which the loss was no number gave no network, and counts as 0.

    Args:
        cells: the evaluations by cell.
        method: of fine-tuning, by which rates were searched.
        seed: under which they were.
    """
    rates = {
        f"{role}.{method}": [trial.val_accuracy or 0.0 for trial in found.trials]
        for role, found in tuned.backbones.items()
    }
    probes = {
        f"{design.split(cell)[0]}.linear": evaluations.seeds[str(seed)]["linear"].tried_accuracies
        for cell, evaluations in cells.items()
        if "linear" in evaluations.seeds.get(str(seed), {})
    }
    return {arm: accuracies for arm, accuracies in (rates | probes).items() if accuracies}


def expected_best(accuracies: Sequence[float]) -> list[float]:
    """The expected best validation accuracy of n configurations, for n = 1 to all N of them (Dodge et al. 2019).

    Dodge et al. draw with replacement, which is biased downwards (Tang et al. 2020). A grid tries no configuration
    twice, so here n of N are drawn without: the mean over all subsets of their largest value. Of the sorted values
    v_1 <= ... <= v_N, v_i is the largest in C(i - 1, n - 1) of the C(N, n) subsets.
    """
    values, count = sorted(accuracies), len(accuracies)
    return [
        sum(comb(below, size - 1) * value for below, value in enumerate(values)) / comb(count, size)
        for size in range(1, count + 1)
    ]


def figure(curves: Mapping[str, Sequence[float]], titles: Mapping[str, str], images: int) -> Figure:
    """The expected best accuracy on so many validation images by the number of configurations, a line for each arm."""
    drawn = Figure(figsize=(7, 4), layout="constrained")
    axes = drawn.subplots()
    for arm, expected in curves.items():
        axes.plot(
            range(1, len(expected) + 1),
            expected,
            color=CELL_COLOURS[design.cell(arm)],
            marker=MARKERS[design.split(arm)[0]],
            label=plain(titles[arm]),
        )
    axes.set(xlabel="configurations tried", ylabel=f"expected best accuracy\non {images:,} validation images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(drawn)
    return drawn
