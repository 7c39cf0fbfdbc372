"""The results of a search for settings: its summary, its trials as a table, and figures."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.core.records import Environment
from src.plotting import COLOURS, plain
from src.records.tune import SearchSummaries, SearchSummary
from src.storage import files
from src.tune.search import SEARCHED, Search, spent

COLUMNS = ("number", "state", *SEARCHED, "val_accuracy", "val_loss", "epochs", "images", "train_macs")
STYLES = {"resnet": (COLOURS[0], "o"), "convnext": (COLOURS[5], "s")}  # as everywhere else

Searches = Mapping[str, Search]  # by role


def summary(searches: Searches, environment: Environment) -> SearchSummaries:
    """The best trial of every search, and the cost of all its trials."""
    backbones = {role: _summary(search) for role, search in searches.items()}
    return SearchSummaries(backbones=backbones, environment=environment)


def _summary(search: Search) -> SearchSummary:
    trials, best = search.trials, search.best
    states = Counter(trial.state for trial in trials)
    assert best.val_accuracy is not None  # it is complete
    return SearchSummary(
        configurations=len(trials),
        complete=states["complete"],
        pruned=states["pruned"],
        diverged=states["diverged"],
        best_trial=best.number,
        lr=best.params.get("lr"),
        weight_decay=best.params.get("weight_decay"),
        val_accuracy=best.val_accuracy,
        first_val_accuracy=trials[0].val_accuracy,
        val_images=search.val_images,
        images=spent(trials),
        images_cap=search.images_cap,
        train_macs=sum(trial.train_macs for trial in trials),
        train_seconds=sum(trial.train_seconds for trial in trials),
    )


def write_plots(folder: Path, searches: Searches) -> None:
    """Write every search as a table, and the figures, into an emptied folder."""
    files.empty_folder(folder)
    for role, search in searches.items():
        files.write_table(folder / f"trials_{role}.csv", COLUMNS, rows(search))
    for name, figure in all_figures(searches).items():
        files.write_figure(folder / f"{name}.png", figure)


def rows(search: Search) -> list[list[Any]]:
    """A search as a table of COLUMNS, without seconds, which differ from run to run."""
    return [
        [
            *(trial.number, trial.state, *(trial.params.get(name, getattr(search.config, name)) for name in SEARCHED)),
            *(trial.val_accuracy, trial.val_loss, len(trial.accuracies), trial.images, trial.train_macs),
        ]
        for trial in search.trials
    ]


def all_figures(searches: Searches) -> dict[str, Figure]:
    """Every figure by name."""
    figures = {"history": history(searches), "learning_rate": by_rate(searches)}
    if all("weight_decay" in search.best.params for search in searches.values()):
        figures["search"] = plane(searches)
    return figures


def history(searches: Searches) -> Figure:
    """Validation accuracy by trial, and the best complete trial so far."""
    figure, axes = _axes(searches)
    for role, search in searches.items():
        _points(axes, role, search, [trial.number for trial in search.trials])
        ended = [trial.val_accuracy if trial.state == "complete" else None for trial in search.trials]
        best = accumulate((-math.inf if value is None else value for value in ended), max)
        axes.step(
            range(1, len(ended) + 1),
            [math.nan if value == -math.inf else value for value in best],
            where="post",
            color=STYLES[role][0],
            linewidth=1,
        )
    axes.set(xlabel="trial; the line is the best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def by_rate(searches: Searches) -> Figure:
    """Validation accuracy against the learning rate; a line marks finetune's own."""
    figure, axes = _axes(searches)
    for role, search in searches.items():
        _points(axes, role, search, [trial.params["lr"] for trial in search.trials])
        axes.axvline(search.config.lr, color="0.6", linewidth=1, linestyle=":")
    axes.set(xscale="log", xlabel="learning rate; dotted: finetune's own")
    axes.legend(frameon=False)
    return figure


def plane(searches: Searches) -> Figure:
    """Every trial by learning rate and weight decay, its accuracy as a colour; a ring marks the best."""
    figure = Figure(figsize=(5 * len(searches) + 1, 4), layout="constrained")
    figure.suptitle(_title(searches))
    everything = [trial.val_accuracy or 0.0 for search in searches.values() for trial in search.trials]
    for axes, search in zip(figure.subplots(1, len(searches), squeeze=False)[0], searches.values(), strict=True):
        x, y = ([trial.params[name] for trial in search.trials] for name in SEARCHED)
        reached = [trial.val_accuracy or 0.0 for trial in search.trials]
        points = axes.scatter(x, y, c=reached, vmin=min(everything), vmax=max(everything), cmap="viridis")
        axes.plot(*(search.best.params[name] for name in SEARCHED), "o", mfc="none", mec="black", markersize=13)
        axes.set(title=plain(search.name), xscale="log", yscale="log", xlabel="learning rate", ylabel="weight decay")
        axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(points, ax=figure.axes, format=PercentFormatter(1, decimals=None))
    return figure


def _title(searches: Searches) -> str:
    return f"accuracy on {next(iter(searches.values())).val_images:,} validation images"


def _axes(searches: Searches) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    figure.suptitle(_title(searches))
    axes = figure.subplots()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _points(axes: Axes, role: str, search: Search, where: Sequence[float]) -> None:
    """A filled marker for a complete trial, a hollow one for a pruned trial, a cross for one that diverged."""
    colour, marker = STYLES[role]
    name = plain(search.name)
    looks: dict[str, dict[str, Any]] = {
        "complete": {"marker": marker, "facecolors": colour, "edgecolors": colour, "label": name},
        "pruned": {"marker": marker, "facecolors": "none", "edgecolors": colour, "label": f"{name}, given up early"},
        "diverged": {"marker": "x", "color": colour, "label": f"{name}, loss no number"},
    }
    for state, look in looks.items():
        trials = zip(where, search.trials, strict=True)
        chosen = [(x, trial.val_accuracy or 0.0) for x, trial in trials if trial.state == state]
        if chosen:
            x, y = zip(*chosen, strict=True)
            axes.scatter(x, y, s=30, **look)
