"""Accuracy against severity and epsilon, and what is told apart: matplotlib Figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.core import design
from src.core.design import OOD_SCORES
from src.plotting import CELL_COLOURS, COLOURS, plain
from src.robustness import attacks, ood

Rows = Sequence[Mapping[str, Any]]
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


def all_figures(result: Mapping[str, Any], examples: np.ndarray, names: Sequence[str]) -> dict[str, Figure]:
    """Every picture by its name.

    Args:
        result: what `robustness_results.report` says.
        examples: one image with every corruption and severity, (C, S, H, W, 3) uint8.
        names: of the corruptions.
    """
    found = {"examples": corrupted_image(examples, names, result["severities"]), "corruptions": severities(result)}
    if result["adversarial"]:
        found["adversarial"] = epsilons(result)
    return {**found, "ood": ood_auroc(result)}


def _styles(rows: Rows) -> dict[str, dict[str, Any]]:
    """How each arm is drawn: in its cell's colour, with a marker of its own in the cell."""
    seen: dict[str, int] = {}
    found = {}
    for name in dict.fromkeys(row["arm"] for row in rows):
        cell = design.cell(name)
        seen[cell] = seen.get(cell, -1) + 1
        dashes = "-" if seen[cell] == 0 else "--"
        found[name] = {"color": CELL_COLOURS[cell], "marker": MARKERS[seen[cell] % len(MARKERS)], "linestyle": dashes}
    return found


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
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def severities(result: Mapping[str, Any]) -> Figure:
    """The accuracy of every arm against severity, one panel for each family of corruptions; 0 are the images as is."""
    rows, styles = result["corruptions"], _styles(result["corruptions"])
    families = list(rows[0]["families"])
    figure, panels = _panels(len(families), f"Accuracy on {result['n']:,} corrupted test images, by family")
    places = [0, *result["severities"]]
    for axes, family in zip(panels, families, strict=True):
        for row in rows:
            values = [row["clean"]["value"], *row["families"][family]]
            axes.plot(places, values, markersize=4, label=plain(row["title"]), **styles[row["arm"]])
        axes.set(title=family, xlabel="severity")
        axes.set_xticks(places)
    _legend(figure, panels[0])
    return figure


def epsilons(result: Mapping[str, Any]) -> Figure:
    """The accuracy of every attacked arm against epsilon with its interval, one panel for each attack."""
    rows = [row for row in result["adversarial"] if row["attack"] != attacks.SHORT]
    clean = {row["arm"]: row["clean"] for row in result["corruptions"]}
    titles = {row["arm"]: row["title"] for row in result["corruptions"]}
    names, styles = list(dict.fromkeys(row["attack"] for row in rows)), _styles(rows)
    figure, panels = _panels(len(names), f"Accuracy on {result['n']:,} attacked test images")
    for axes, name in zip(panels, names, strict=True):
        for arm, style in styles.items():
            drawn = sorted((r for r in rows if r["attack"] == name and r["arm"] == arm), key=lambda r: r["epsilon"])
            places = [0, *(row["epsilon"] for row in drawn)]
            values = [clean[arm], *(row["accuracy"] for row in drawn)]
            middle = [value["value"] for value in values]
            spread = [[v["value"] - v["low"] for v in values], [v["high"] - v["value"] for v in values]]
            axes.errorbar(places, middle, spread, markersize=4, capsize=2, label=plain(titles[arm]), **style)
        axes.set(title=TITLES[name], xlabel="epsilon, in 255ths")
    _legend(figure, panels[0])
    return figure


def ood_auroc(result: Mapping[str, Any]) -> Figure:
    """The AUROC of every arm with its interval, by score: unknown classes of the dataset, and another dataset."""
    rows = result["ood"]
    names = {row["arm"]: row["title"] for row in result["corruptions"]}
    kinds = list(dict.fromkeys(row["against"] for row in rows))
    figure = Figure(figsize=(2.5 + 4.2 * len(kinds), 1.8 + 0.42 * len(names)), layout="constrained")
    figure.suptitle(plain("How well unknown images are told from test images: AUROC, 0.5 by guessing"))
    every = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    words = {"near": "near: the classes left out", "far": f"far: {result['far'][0]}"}
    for axes, kind in zip(every, kinds, strict=True):
        for shift, score, colour, marker in zip((-0.22, 0, 0.22), ood.SCORES, COLOURS[:3], "osD", strict=True):
            drawn = [row["auroc"] for row in rows if row["against"] == kind and row["score"] == score]
            places = np.arange(len(names)) + shift
            middle = [area["value"] for area in drawn]
            spread = [[a["value"] - a["low"] for a in drawn], [a["high"] - a["value"] for a in drawn]]
            axes.errorbar(middle, places, xerr=spread, fmt=marker, color=colour, capsize=2, label=OOD_SCORES[score])
        axes.axvline(0.5, color="0.6", linestyle=":", linewidth=1)
        axes.set(title=plain(words[kind]), xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5), xlabel="AUROC")
        axes.set_yticks(range(len(names)), [plain(title) for title in names.values()])
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def corrupted_image(examples: np.ndarray, names: Sequence[str], severities: Sequence[int]) -> Figure:
    """One test image with every corruption (rows) and severity (columns), in two halves."""
    half = -(-len(names) // 2)
    width = len(severities)
    figure = Figure(figsize=(1.4 + 1.1 * width, 0.6 + 0.75 * half), layout="constrained")
    every = figure.subplots(half, 2, squeeze=False)
    for place in range(2 * half):
        axes = every[place % half, place // half]
        axes.axis("off")
        if place < len(names):
            axes.imshow(np.concatenate(list(examples[place]), axis=1), interpolation="nearest")
            axes.set_title(names[place].replace("_", " "), fontsize=7, pad=2)
    figure.suptitle(f"One test image, corrupted: severities {', '.join(map(str, severities))}", fontsize=9)
    return figure
