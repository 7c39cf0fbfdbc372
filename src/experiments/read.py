"""The runs of a sweep, read from DVC's experiments by its API."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dvc.api
import numpy as np
from dvc.exceptions import DvcException

from src.core import design
from src.core.design import SWEPT
from src.core.errors import UserError
from src.experiments.scaling import Run
from src.settings.describe import shown
from src.settings.settings import flat
from src.stats import intervals
from src.storage import paths

HARDWARE = ("device", "precision")  # may differ: they change times, and accuracies by rounding alone
# Settings by what they begin with, the one that switches them, and where that is on: elsewhere they are of no result.
SWITCHED: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("tune.", "tune.enabled", bool),
    ("robustness.", "robustness.enabled", bool),
    ("folder", "dataset", lambda value: value == "folder"),
    ("download.", "dataset", lambda value: value == "folder"),
    ("prepare.imbalance_ratio", "prepare.imbalance", lambda value: value not in (None, "none")),
    ("finetune.mix_alpha", "finetune.mix", lambda value: value not in (None, "none")),
)


def names_of_head() -> list[str]:
    """The experiments that were derived from the current commit and have results, by name."""
    rows = dvc.api.exp_show()
    return sorted(row["Experiment"] for row in rows if row["Experiment"] and row["State"] in (None, "Success"))


def reports(chosen: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What metrics/compare.json says of the experiments that were named, or of those of the current commit.

    Raises:
        UserError: one that was named has no results, or there are none at all.
    """
    names = list(dict.fromkeys(chosen)) or names_of_head()
    found = {name: report for name in names if (report := compared(name)) is not None}
    lacking = [name for name in names if name not in found]
    if chosen and lacking:
        raise UserError(f"{lacking[0]}: it has no {paths.metrics('compare')} of this pipeline; run all stages of it")
    if lacking:
        print(f"left out, without {paths.metrics('compare')}: {listed(lacking)}")
    if not found:
        raise UserError("no finished experiment is derived from the current commit; `make sweep` runs some")
    return found


def settings(name: str) -> dict[str, Any]:
    """An experiment's settings, `finetune.lr` and so on, without those that are switched off."""
    return used(flat(dvc.api.params_show("params.yaml", rev=name)))


def used(found: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that another one switches off."""
    idle = [(prefix, switch) for prefix, switch, is_on in SWITCHED if not is_on(found.get(switch))]
    return {
        key: value
        for key, value in found.items()
        if not any(key.startswith(prefix) and key != switch for prefix, switch in idle)
    }


def may_differ(key: str, free: Sequence[str]) -> bool:
    """Whether a setting is of the hardware, among the free ones, or switched by one of these."""
    prefixes = tuple(prefix for prefix, switch, _ in SWITCHED if switch in free)
    return key in (*free, *HARDWARE) or key.startswith(prefixes)


def compared(name: str) -> dict[str, Any] | None:
    """What an experiment's metrics/compare.json says, or None if it has none, or one of another making.

    Not by `dvc.api.metrics_show`, which also reads the workspace's metrics and fails where those are missing.

    Raises:
        UserError: there is no such experiment.
    """
    try:
        text = dvc.api.DVCFileSystem(rev=name).read_text(paths.metrics("compare").as_posix())
    except FileNotFoundError:
        return None
    except DvcException as error:
        why = " ".join(str(error).split())
        raise UserError(f"{name}: {why}; `dvc exp list` names the experiments of this commit") from None
    report = json.loads(text).get("compare", {})
    return report if {"arms", "cells", "base_classes", "classes", "lead"} <= set(report) else None


def varied(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """The settings that differ between runs, by name: each value's text, and who has it. Hardware does not count."""
    differing = {}
    for key in dict.fromkeys(key for settings in found.values() for key in settings):
        values: dict[str, list[str]] = {}
        for name, settings in found.items():
            values.setdefault(shown(settings.get(key)), []).append(name)
        if len(values) > 1 and key not in HARDWARE:
            differing[key] = values
    return differing


def mixed(found: Mapping[str, Mapping[str, Any]], free: Sequence[str] = SWEPT) -> str | None:
    """Why runs of these settings, by name, do not belong together: the first that differs and is not free; or None."""
    for key, values in varied(found).items():
        if not may_differ(key, free):
            parts = [f"{value} in {listed(holders)}" for value, holders in values.items()]
            return f"{key} differs: {', '.join(parts)}"
    return None


def agreeing(found: Mapping[str, Mapping[str, Any]], free: Sequence[str]) -> list[str]:
    """The most runs that differ in free settings, and not in the seed alone, and agree in all others; else all runs."""
    groups: dict[str, list[str]] = {}
    for name, settings in found.items():
        rest = {key: value for key, value in settings.items() if not may_differ(key, free)}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(name)
    differing = [names for names in groups.values() if set(varied({name: found[name] for name in names})) - {"seed"}]
    return max(differing, key=len, default=list(found))


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a line, of many only the first."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def distinct(
    found: Mapping[str, Mapping[str, Any]], keys: Sequence[str] = SWEPT
) -> tuple[list[str], list[tuple[str, str]]]:
    """The names without those that repeat another's values of some settings, and each of these with the one kept."""
    kept: dict[str, str] = {}
    repeated = []
    for name, settings in found.items():
        key = repr([settings.get(swept) for swept in keys])
        if key in kept:
            repeated.append((name, kept[key]))
        else:
            kept[key] = name
    return list(kept.values()), repeated


def subset_of(settings: Mapping[str, Any]) -> tuple[str, str]:
    """The series that an experiment belongs to, and its subset of classes within it."""
    if settings.get("subset_seed") is not None:
        return "random", f"subset_seed {settings['subset_seed']}"
    if isinstance(settings["classes"], int):
        return "first", "first"
    return "named", ", ".join(map(str, settings["classes"]))


def run_of(name: str, settings: Mapping[str, Any], report: Mapping[str, Any]) -> Run:
    """One experiment's answers, costs and titles.

    Raises:
        UserError: its predictions are not in DVC's cache.
    """
    series, subset = subset_of(settings)
    rows = {row["arm"]: row for row in report["arms"]}
    answers = predictions(name, rows)
    first = next(iter(answers.values()))
    return Run(
        name=name,
        series=series,
        subset=subset,
        classes=len(report["classes"]),
        seed=settings["seed"],
        base_classes=report["base_classes"]["count"],
        labels=first["labels"],
        index=first["index"],
        right={arm: intervals.correct(found["logits"], found["labels"]) for arm, found in answers.items()},
        titles={arm: row["title"] for arm, row in rows.items()},
        costs={arm: row["cost"] for arm, row in rows.items()},
        val_accuracy={arm: row["val_accuracy"] for arm, row in rows.items()},
        cells=report["cells"][0],
    )


def predictions(name: str, wanted: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of each arm's predictions file."""
    system = dvc.api.DVCFileSystem(rev=name)
    found = {}
    for arm in wanted:
        path = (paths.predictions(design.cell(arm)) / f"{design.split(arm)[1]}.npz").as_posix()
        try:
            with system.open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                found[arm] = {key: archive[key] for key in ("logits", "labels", "index")}
        except OSError:
            raise UserError(f"{name}: {path} is not in DVC's cache; `dvc exp pull` it from where it was run") from None
    return found
