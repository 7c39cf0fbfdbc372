"""Which experiments belong together, by their settings and by the machines that ran them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src.core.design import SWEPT
from src.core.errors import UserError
from src.core.records import Environment
from src.settings import protocols
from src.settings.describe import shown

Settings = Mapping[str, Any]  # of an experiment, by dotted name: `finetune.lr`

# May differ by its name, as what it stands for is recorded: see `differing_machines`.
HARDWARE = ("device", "precision")
MIXED = "--mixed"  # goes on where they differ
MATTER = {"precision": "precision=fp32", "device": "one device"}  # of a machine: they change answers
# The beginning of a setting's name, the setting that switches it on, and when; switched off, it changes no result.
SWITCHED: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("robustness.", "robustness.enabled", bool),
    ("folder", "dataset", lambda value: value == "folder"),
    ("download.", "dataset", lambda value: value == "folder"),
    ("prepare.imbalance_ratio", "prepare.imbalance", lambda value: value not in (None, "none")),
    ("finetune.mix_alpha", "finetune.mix", lambda value: value not in (None, "none")),
)


def used(settings: Settings) -> dict[str, Any]:
    """The settings without those that another setting switches off."""
    idle = [(prefix, switch) for prefix, switch, is_on in SWITCHED if not is_on(settings.get(switch))]
    return {
        key: value
        for key, value in settings.items()
        if not any(key.startswith(prefix) and key != switch for prefix, switch in idle)
    }


def may_differ(key: str, free: Sequence[str]) -> bool:
    """Whether runs may differ in a setting: it is free, decided or switched on by a free one, or is the hardware."""
    prefixes = tuple(prefix for prefix, switch, _ in SWITCHED if switch in free)
    decided = tuple(protocols.TABLE) if "protocol" in free else ()
    return key in (*free, *HARDWARE, *decided) or key.startswith(prefixes)


def varied(by_run: Mapping[str, Settings], wanted: Sequence[str] = ()) -> dict[str, dict[str, list[str]]]:
    """The settings that differ between runs: by name each value, as text, with its runs.

    The hardware is ignored unless it is wanted.
    """
    differing = {}
    for key in dict.fromkeys(key for settings in by_run.values() for key in settings):
        values: dict[str, list[str]] = {}
        for name, settings in by_run.items():
            values.setdefault(shown(settings.get(key)), []).append(name)
        if len(values) > 1 and (key not in HARDWARE or key in wanted):
            differing[key] = values
    return differing


def mixed(by_run: Mapping[str, Settings], free: Sequence[str] = tuple(SWEPT)) -> str | None:
    """Why runs with these settings cannot be compared: the first setting that differs and is not free, or None."""
    for key, values in varied(by_run).items():
        if not may_differ(key, free):
            parts = [f"{value} in {listed(holders)}" for value, holders in values.items()]
            return f"{key} differs: {', '.join(parts)}"
    return None


def agreeing(by_run: Mapping[str, Settings], free: Sequence[str]) -> list[str]:
    """The largest set of runs that differ in free settings alone, besides the seeds; all runs if there is none."""
    groups: dict[str, list[str]] = {}
    for name, settings in by_run.items():
        rest = {key: value for key, value in settings.items() if not may_differ(key, free)}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(name)
    differing = [
        names for names in groups.values() if set(varied({name: by_run[name] for name in names}, free)) - {"seeds"}
    ]
    return max(differing, key=len, default=list(by_run))


def differing_machines(
    by_run: Mapping[str, Sequence[Environment]], *, mixed: bool, free: Sequence[str] = ()
) -> list[str]:
    """What differs between the machines that trained and evaluated some experiments, a line each.

    Args:
        by_run: the environments of each experiment's records.
        mixed: whether a device kind or a precision may differ.
        free: settings whose effect is measured: a precision or device among them may differ.

    Raises:
        UserError: naming two experiments.
    """
    said = []
    for key in ("precision", "device", "threads", "processor"):
        values = _recorded(by_run, key)
        if len(values) < 2 or key in free:
            continue
        parts = ", ".join(f"{value} in {listed(names)}" for value, names in values.items())
        if key in MATTER and not mixed:
            raise UserError(
                f"{key} differs between the machines: {parts}; numbers of different kinds do not compare: run them "
                f"again with {MATTER[key]}, choose experiments that agree, or go on with {MIXED}"
            )
        said.append(f"{key} differs: {parts}" + (f" ({MIXED})" if key in MATTER else ""))
    return said


def _recorded(by_run: Mapping[str, Sequence[Environment]], key: str) -> dict[str, list[str]]:
    """The values that experiments recorded, each with its experiments; several where their records differ."""
    values: dict[str, list[str]] = {}
    for name, environments in by_run.items():
        found = sorted({str(environment[key]) for environment in environments if key in environment})
        values.setdefault(" and ".join(found), []).append(name)
    return values


def named_by(keys: Sequence[str], settings: Settings) -> dict[str, Any]:
    """The settings of some names; without those that the protocol decides, where it is among them."""
    decided = protocols.decided(settings["protocol"]) if "protocol" in keys else {}
    return {key: settings[key] for key in keys if key in settings and not _decided(key, settings[key], decided)}


def _decided(key: str, value: Any, decided: Settings) -> bool:
    return key in decided and value == decided[key]


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a line; of many, the first and how many follow."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def subset_of(settings: Settings) -> tuple[str, str]:
    """An experiment's series, and its subset of classes in the series."""
    if settings.get("subset_seed") is not None:
        return "random", f"subset_seed {settings['subset_seed']}"
    if isinstance(settings["classes"], int):
        return "first", "first"
    return "named", ", ".join(map(str, settings["classes"]))
