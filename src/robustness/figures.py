"""Figures of the robustness of all arms: against severity and epsilon, AUROCs, and examples; never saves."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.core import design
from src.core.design import OOD_SCORES
from src.core.records import Interval
from src.plotting import CELL_COLOURS, COLOURS, legend_below, plain
from src.records.robustness import RobustnessResults
from src.robustness import attacks, ood

MARKERS = "osD^vPX*<>"  # of the arms of one cell
TITLES = {
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd_ce": "APGD-CE",
    "square": "Square",
    "autoattack": "AutoAttack",
    "worst": "the worst of all attacks",
    attacks.NOISE: "random noise, no attack",
}


def all_figures(results: RobustnessResults, examples: np.ndarray, names: Sequence[str]) -> dict[str, Figure]:
    """Every figure by its name.

    Args:
        examples: one image with every corruption and severity, (C, S, H, W, 3) uint8.
        names: of the corruptions.
    """
    figures = {"examples": corrupted_image(examples, names, results.severities), "corruptions": severities(results)}
    if results.adversarial:
        figures["adversarial"] = epsilons(results)
    return {**figures, "ood": ood_auroc(results)}


def _styles(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How each arm is drawn: in its cell's colour, with a marker of its own in the cell."""
    seen: dict[str, int] = {}
    styles = {}
    for name in dict.fromkeys(arms):
        cell = design.cell(name)
        seen[cell] = seen.get(cell, -1) + 1
        dashes = "-" if seen[cell] == 0 else "--"
        styles[name] = {"color": CELL_COLOURS[cell], "marker": MARKERS[seen[cell] % len(MARKERS)], "linestyle": dashes}
    return styles


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(1.2 + 3.4 * columns, 1.9 + 2.7 * rows), layout="constrained")
    figure.suptitle(plain(title))
    every = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes in every[count:]:
        axes.set_visible(False)
    for axes in every[:count]:
        axes.set(ylim=(-0.02, 1.02))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.spines[["top", "right"]].set_visible(False)
    return figure, every[:count]


def _legend(figure: Figure, axes: Axes) -> None:
    legend_below(figure, *axes.get_legend_handles_labels(), fontsize=9)


def severities(results: RobustnessResults) -> Figure:
    """Accuracy against severity, one panel for each family of corruptions; severity 0 are the images as they are."""
    rows, styles = results.corruptions, _styles(row.arm for row in results.corruptions)
    families = list(rows[0].families)
    figure, panels = _panels(len(families), f"Accuracy on {results.n:,} corrupted test images, by family")
    ticks = [0, *results.severities]
    for axes, family in zip(panels, families, strict=True):
        for row in rows:
            values = [row.clean.value, *row.families[family]]
            axes.plot(ticks, values, markersize=4, label=plain(row.title), **styles[row.arm])
        axes.set(title=family, xlabel="severity")
        axes.set_xticks(ticks)
    _legend(figure, panels[0])
    return figure


def epsilons(results: RobustnessResults) -> Figure:
    """Accuracy of every attacked arm against epsilon with its interval, one panel for each attack."""
    rows = [row for row in results.adversarial if row.attack != attacks.SHORT]
    arms = {row.arm: row for row in results.corruptions}
    names, styles = list(dict.fromkeys(row.attack for row in rows)), _styles(row.arm for row in rows)
    figure, panels = _panels(len(names), f"Accuracy on {results.n:,} attacked test images")
    for axes, name in zip(panels, names, strict=True):
        for arm, style in styles.items():
            drawn = sorted((row for row in rows if (row.attack, row.arm) == (name, arm)), key=lambda row: row.epsilon)
            values = [arms[arm].clean, *(row.accuracy for row in drawn)]
            middle, spread = _error_bars(values)
            sizes = [0, *(row.epsilon for row in drawn)]
            axes.errorbar(sizes, middle, spread, markersize=4, capsize=2, label=plain(arms[arm].title), **style)
        axes.set(title=TITLES[name], xlabel="epsilon, in 255ths")
    _legend(figure, panels[0])
    return figure


def _error_bars(values: Sequence[Interval]) -> tuple[list[float], list[list[float]]]:
    """The values, and how far their intervals reach below and above them."""
    below, above = [part.value - part.low for part in values], [part.high - part.value for part in values]
    return [part.value for part in values], [below, above]


def ood_auroc(results: RobustnessResults) -> Figure:
    """The AUROC of every arm with its interval, by score: unknown classes of the dataset, and another dataset."""
    titles = [plain(row.title) for row in results.corruptions]
    kinds = list(dict.fromkeys(row.against for row in results.ood))
    figure = Figure(figsize=(2.5 + 4.2 * len(kinds), 1.8 + 0.42 * len(titles)), layout="constrained")
    figure.suptitle(plain("How well unknown images are told from test images: AUROC, 0.5 by guessing"))
    every = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    words = {"near": "near: the classes left out", "far": f"far: {results.far}"}
    for axes, kind in zip(every, kinds, strict=True):
        for shift, score, colour, marker in zip((-0.22, 0, 0.22), ood.SCORES, COLOURS[:3], "osD", strict=True):
            drawn = [row.auroc for row in results.ood if (row.against, row.score) == (kind, score)]
            middle, spread = _error_bars(drawn)
            heights = np.arange(len(titles)) + shift
            axes.errorbar(middle, heights, xerr=spread, fmt=marker, color=colour, capsize=2, label=OOD_SCORES[score])
        axes.axvline(0.5, color="0.6", linestyle=":", linewidth=1)
        axes.set(title=plain(words[kind]), xlim=(-0.02, 1.02), ylim=(len(titles) - 0.5, -0.5), xlabel="AUROC")
        axes.set_yticks(range(len(titles)), titles)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def corrupted_image(examples: np.ndarray, names: Sequence[str], severities: Sequence[int]) -> Figure:
    """One test image with every corruption (rows) and severity (columns), in two halves."""
    half = -(-len(names) // 2)
    width = len(severities)
    figure = Figure(figsize=(1.4 + 1.1 * width, 0.6 + 0.75 * half), layout="constrained")
    every = figure.subplots(half, 2, squeeze=False)
    for number in range(2 * half):
        axes = every[number % half, number // half]
        axes.axis("off")
        if number < len(names):
            axes.imshow(np.concatenate(list(examples[number]), axis=1), interpolation="nearest")
            axes.set_title(names[number].replace("_", " "), fontsize=7, pad=2)
    figure.suptitle(f"One test image, corrupted: severities {', '.join(map(str, severities))}", fontsize=9)
    return figure
