"""The runs of a sweep, read from DVC's experiments by its API."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import dvc.api
import numpy as np
from dvc.exceptions import DvcException
from pydantic import ValidationError

from src.core import design
from src.core.design import SWEPT
from src.core.errors import UserError
from src.experiments.scaling import Run
from src.records.compare import Comparison
from src.settings.describe import shown
from src.settings.settings import flat
from src.stats import intervals
from src.storage import paths

Settings = Mapping[str, Any]  # of an experiment, by dotted name: `finetune.lr`

HARDWARE = ("device", "precision")  # may differ: they change times, and accuracies only by rounding
# The beginning of a setting's name, the setting that switches it on, and when; switched off, it changes no result.
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


def comparisons(chosen: Sequence[str]) -> dict[str, Comparison]:
    """The comparisons of the experiments that were named, or of those of the current commit.

    Raises:
        UserError: one that was named has no results, or there are none at all.
    """
    names = list(dict.fromkeys(chosen)) or names_of_head()
    loaded = {name: comparison for name in names if (comparison := compared(name)) is not None}
    lacking = [name for name in names if name not in loaded]
    if chosen and lacking:
        raise UserError(f"{lacking[0]}: it has no {paths.record('compare')} of this pipeline; run all stages of it")
    if lacking:
        print(f"left out, without {paths.record('compare')}: {listed(lacking)}")
    if not loaded:
        raise UserError("no finished experiment is derived from the current commit; `make sweep` runs some")
    return loaded


def settings(name: str) -> dict[str, Any]:
    """An experiment's settings, `finetune.lr` and so on, without those that are switched off."""
    return used(flat(dvc.api.params_show("params.yaml", rev=name)))


def used(settings: Settings) -> dict[str, Any]:
    """The settings without those that another setting switches off."""
    idle = [(prefix, switch) for prefix, switch, is_on in SWITCHED if not is_on(settings.get(switch))]
    return {
        key: value
        for key, value in settings.items()
        if not any(key.startswith(prefix) and key != switch for prefix, switch in idle)
    }


def may_differ(key: str, free: Sequence[str]) -> bool:
    """Whether runs may differ in a setting: it is free, switched on by a free one, or concerns the hardware."""
    prefixes = tuple(prefix for prefix, switch, _ in SWITCHED if switch in free)
    return key in (*free, *HARDWARE) or key.startswith(prefixes)


def compared(name: str) -> Comparison | None:
    """An experiment's comparison; None if it has none, or one of an older pipeline.

    Raises:
        UserError: there is no such experiment, or DVC's cache lacks its record.
    """
    path = paths.record("compare").as_posix()
    try:
        system = dvc.api.DVCFileSystem(rev=name)
        if not system.exists(paths.metrics("compare").as_posix()) or not system.exists(path):
            return None
    except DvcException as error:
        why = " ".join(str(error).split())
        raise UserError(f"{name}: {why}; `dvc exp list` names the experiments of this commit") from None
    try:
        return Comparison.model_validate_json(read_cached(system, name, path))
    except ValidationError:
        return None


def read_cached(system: dvc.api.DVCFileSystem, name: str, path: str) -> bytes:
    """The bytes of one of an experiment's outputs.

    Raises:
        UserError: DVC's cache lacks it.
    """
    try:
        return system.read_bytes(path)
    except OSError:
        raise UserError(f"{name}: {path} is not in DVC's cache; `dvc exp pull` it from where it was run") from None


def varied(by_run: Mapping[str, Settings]) -> dict[str, dict[str, list[str]]]:
    """The settings that differ between runs: by name each value, as text, with its runs. Hardware is ignored."""
    differing = {}
    for key in dict.fromkeys(key for settings in by_run.values() for key in settings):
        values: dict[str, list[str]] = {}
        for name, settings in by_run.items():
            values.setdefault(shown(settings.get(key)), []).append(name)
        if len(values) > 1 and key not in HARDWARE:
            differing[key] = values
    return differing


def mixed(by_run: Mapping[str, Settings], free: Sequence[str] = SWEPT) -> str | None:
    """Why runs with these settings cannot be compared: the first setting that differs and is not free, or None."""
    for key, values in varied(by_run).items():
        if not may_differ(key, free):
            parts = [f"{value} in {listed(holders)}" for value, holders in values.items()]
            return f"{key} differs: {', '.join(parts)}"
    return None


def agreeing(by_run: Mapping[str, Settings], free: Sequence[str]) -> list[str]:
    """The largest set of runs that differ in free settings alone, besides the seed; all runs if there is none."""
    groups: dict[str, list[str]] = {}
    for name, settings in by_run.items():
        rest = {key: value for key, value in settings.items() if not may_differ(key, free)}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(name)
    differing = [names for names in groups.values() if set(varied({name: by_run[name] for name in names})) - {"seed"}]
    return max(differing, key=len, default=list(by_run))


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a line; of many, the first and how many follow."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def distinct(by_run: Mapping[str, Settings], keys: Sequence[str] = SWEPT) -> tuple[list[str], list[tuple[str, str]]]:
    """The runs that differ in some settings; and each run that repeats another, with the other."""
    kept: dict[str, str] = {}
    repeated = []
    for name, settings in by_run.items():
        key = repr([settings.get(swept) for swept in keys])
        if key in kept:
            repeated.append((name, kept[key]))
        else:
            kept[key] = name
    return list(kept.values()), repeated


def subset_of(settings: Settings) -> tuple[str, str]:
    """An experiment's series, and its subset of classes in the series."""
    if settings.get("subset_seed") is not None:
        return "random", f"subset_seed {settings['subset_seed']}"
    if isinstance(settings["classes"], int):
        return "first", "first"
    return "named", ", ".join(map(str, settings["classes"]))


def run_of(name: str, settings: Settings, comparison: Comparison) -> Run:
    """One experiment's predictions, costs and titles.

    Raises:
        UserError: its predictions are not in DVC's cache.
    """
    series, subset = subset_of(settings)
    arms = {arm.arm: arm for arm in comparison.arms}
    arrays = predictions(name, arms)
    first = next(iter(arrays.values()))
    return Run(
        name=name,
        series=series,
        subset=subset,
        classes=len(comparison.classes),
        seed=settings["seed"],
        base_classes=comparison.base_classes.count,
        labels=first["labels"],
        index=first["index"],
        right={arm: intervals.correct(part["logits"], part["labels"]) for arm, part in arrays.items()},
        titles={name: arm.title for name, arm in arms.items()},
        costs={name: arm.cost for name, arm in arms.items()},
        val_accuracy={name: arm.val_accuracy for name, arm in arms.items()},
        cells=comparison.cells,
    )


def predictions(name: str, arms: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """The logits, labels and index of each arm.

    Raises:
        UserError: DVC's cache lacks them.
    """
    system, arrays = dvc.api.DVCFileSystem(rev=name), {}
    for arm in arms:
        path = (paths.predictions(design.cell(arm)) / f"{design.split(arm)[1]}.npz").as_posix()
        with np.load(BytesIO(read_cached(system, name, path)), allow_pickle=False) as archive:
            arrays[arm] = {key: archive[key] for key in ("logits", "labels", "index")}
    return arrays
