"""The experiments of a sweep, what they are called, and how long the rest takes.

Pure functions: nothing here talks to DVC.
"""

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
    """One experiment: its name, the settings that make it, as `dvc exp run -S` takes them, and its class count K."""

    name: str
    overrides: tuple[str, ...]
    classes: int


def overrides(
    classes: Sequence[str], seeds: Sequence[str], subset_seeds: Sequence[str], others: Sequence[str]
) -> list[tuple[str, ...]]:
    """What is set for each experiment: every class count under every seed, one seed after another.

    A whole curve over class counts so exists before the second seed begins.

    Args:
        classes: each a number, or a list as `[cat,dog]`.
        subset_seeds: none leaves `subset_seed` as params.yaml has it.
        others: `key=value` of every experiment alike.

    Raises:
        UserError: one of `others` sets what has an option of its own.
    """
    for text in others:
        key = text.split("=")[0]
        if key in SWEPT:
            raise UserError(f"-S {text}: give it as --{key.replace('seed', 'seeds').replace('_', '-')}")
    drawn: list[tuple[str, ...]] = [(f"subset_seed={value}",) for value in subset_seeds] or [()]
    return [
        (f"classes={count}", f"seed={seed}", *subset, *others) for seed, subset, count in product(seeds, drawn, classes)
    ]


def planned(set_here: tuple[str, ...], settings: Mapping[str, Any], commit: str) -> Planned:
    """The experiment of these settings at this commit, named after both: `k05-seed1-3f2a90cc`.

    The digits are a digest of every setting and of the commit: whatever differs in either is another experiment, and
    one that has its name has its results. `settings` are the effective ones, params.yaml's included.
    """
    text = json.dumps([commit, dict(settings)], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    classes = settings["classes"]
    groups = superclasses(settings["dataset"])
    count = classes if isinstance(classes, int) else len(expanded(classes, groups))
    subset = "" if settings["subset_seed"] is None else f"-subset{settings['subset_seed']}"
    return Planned(f"k{count:02d}{subset}-seed{settings['seed']}-{digest}", set_here, count)


def unique(experiments: Iterable[Planned]) -> list[Planned]:
    """Each experiment once, where a class count or a seed was named twice."""
    return list({experiment.name: experiment for experiment in experiments}.values())


def seconds_left(finished: Sequence[tuple[float, int]], remaining: int) -> float | None:
    """The time that the remaining class counts take at the pace of those that finished.

    An experiment takes time in proportion to its training images, hence to K. The first also pays for the images and
    the embeddings: the pace is that since it ended, and before a second one ended nothing can be said.

    Args:
        finished: when experiments ended, in seconds, and their K; in order.
        remaining: the sum of K of those to come.
    """
    if len(finished) < 2:
        return None
    taken = finished[-1][0] - finished[0][0]
    return taken / sum(classes for _, classes in finished[1:]) * remaining


def duration(seconds: float | None) -> str:
    """`about 12 min`, to a digit that an estimate deserves."""
    if seconds is None:
        return "unknown yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
