"""The experiments of a sweep and their names, and the time left, as pure functions."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from src.core.design import SWEPT
from src.core.errors import UserError
from src.data.classes import expanded, superclasses


@dataclass(frozen=True)
class Planned:
    """An experiment: its name, its settings as `dvc exp run -S` takes them, and its number of classes K."""

    name: str
    overrides: tuple[str, ...]
    classes: int


def overrides(
    classes: Sequence[str], seeds: Sequence[str], subset_seeds: Sequence[str], others: Sequence[str]
) -> list[tuple[str, ...]]:
    """The settings of each experiment: every class count with every seed.

    Seeds vary slowest, so that the first curve over class counts is complete early.

    Args:
        classes: each a number, or a list like `[cat,dog]`.
        subset_seeds: if empty, `subset_seed` stays as in params.yaml.
        others: `key=value` for all experiments.

    Raises:
        UserError: one of `others` is a setting that has an option of its own.
    """
    for text in others:
        key = text.split("=")[0]
        if key in SWEPT:
            raise UserError(f"-S {text}: give it as --{key.replace('seed', 'seeds').replace('_', '-')}")
    subsets: list[tuple[str, ...]] = [(f"subset_seed={value}",) for value in subset_seeds] or [()]
    return [
        (f"classes={count}", f"seed={seed}", *subset, *others)
        for seed, subset, count in product(seeds, subsets, classes)
    ]


def planned(overrides: tuple[str, ...], settings: Mapping[str, Any], commit: str) -> Planned:
    """The experiment of these settings at this commit, named like `k05-seed1-3f2a90cc`.

    The name ends in a hash of all settings and the commit, so that experiments of the same name have the same results.

    Args:
        settings: params.yaml with the overrides applied.
    """
    text = json.dumps([commit, dict(settings)], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    classes = settings["classes"]
    groups = superclasses(settings["dataset"])
    count = classes if isinstance(classes, int) else len(expanded(classes, groups))
    subset = "" if settings["subset_seed"] is None else f"-subset{settings['subset_seed']}"
    return Planned(f"k{count:02d}{subset}-seed{settings['seed']}-{digest}", overrides, count)


def unique(experiments: Iterable[Planned]) -> list[Planned]:
    """Each experiment once, even if a class count or a seed was given twice."""
    return list({experiment.name: experiment for experiment in experiments}.values())


def seconds_left(finished: Sequence[tuple[float, int]], remaining: int) -> float | None:
    """The time left in seconds; None before the second experiment finished.

    The time of an experiment is proportional to its training images, hence to K. The first one also prepares the images
    and embeddings for all, so the pace is measured from its end.

    Args:
        finished: the end in seconds and K of each finished experiment, in order.
        remaining: the sum of K of the others.
    """
    if len(finished) < 2:
        return None
    elapsed = finished[-1][0] - finished[0][0]
    return elapsed / sum(classes for _, classes in finished[1:]) * remaining


def duration(seconds: float | None) -> str:
    """A rounded duration, such as `about 12 min`."""
    if seconds is None:
        return "unknown yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
