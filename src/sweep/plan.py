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

NAMED = 5  # seeds in a name; of more, their number
IMAGES = 5_000  # training images of a class that no setting cuts, as CIFAR-10 has; for the time left alone


@dataclass(frozen=True)
class Planned:
    """An experiment: its name, its settings as `dvc exp run -S` takes them, and its work, to which its time is
    proportional: seeds x classes x training images of each x pixels.
    """

    name: str
    overrides: tuple[str, ...]
    work: float


def overrides(
    classes: Sequence[str],
    others: Sequence[str] = (),
    *,
    seeds: Sequence[str] = (),
    subset_seeds: Sequence[str] = (),
    shots: Sequence[str] = (),
    sizes: Sequence[str] = (),
) -> list[tuple[str, ...]]:
    """The settings of each experiment: all combinations of the axes, each with all seeds.

    Class counts vary fastest, so that the first curve over them is complete early. What is not given stays as in
    params.yaml.

    Args:
        classes: each a number, or a list like `[cat,dog]`.
        others: `key=value` for all experiments.
        seeds: of every experiment.
        shots: training images of each class; `null` for all.
        sizes: sides of the images in pixels.

    Raises:
        UserError: one of `others` is a setting that has an option of its own.
    """
    for text in others:
        if option := SWEPT.get(text.split("=")[0]):
            raise UserError(f"-S {text}: give it as {option}")
    axes = [
        [f"{key}={value}" for value in values]
        for key, values in (("image_size", sizes), ("prepare.shots", shots), ("subset_seed", subset_seeds))
        if values
    ]
    fixed = (*([f"seeds=[{','.join(seeds)}]"] if seeds else []), *others)
    return [(f"classes={count}", *chosen, *fixed) for *chosen, count in product(*axes, classes)]


def planned(overrides: tuple[str, ...], settings: Mapping[str, Any], commit: str) -> Planned:
    """The experiment of these settings at this commit, named like `k05-shots10-px32-seeds0-1-2-3f2a90cc`.

    The name ends in a hash of all settings and the commit, so that experiments of the same name have the same results.

    Args:
        settings: params.yaml with the overrides applied.
    """
    text = json.dumps([commit, dict(settings)], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    classes, shots, seeds = settings["classes"], settings["prepare"]["shots"], settings["seeds"]
    groups = superclasses(settings["dataset"])
    count = classes if isinstance(classes, int) else len(expanded(classes, groups))
    parts = [f"k{count:02d}"]
    parts += [] if settings["subset_seed"] is None else [f"subset{settings['subset_seed']}"]
    parts += [] if shots is None else [f"shots{shots}"]
    parts.append(f"px{settings['image_size']}")
    parts.append(f"seeds{'-'.join(map(str, seeds))}" if len(seeds) <= NAMED else f"{len(seeds)}seeds")
    limits = [limit for limit in (shots, settings["prepare"]["per_class"]) if isinstance(limit, int)]
    work = len(seeds) * count * min(limits, default=IMAGES) * settings["image_size"] ** 2
    return Planned("-".join([*parts, digest]), overrides, work)


def unique(experiments: Iterable[Planned]) -> list[Planned]:
    """Each experiment once, even if a class count or another value was given twice."""
    return list({experiment.name: experiment for experiment in experiments}.values())


def seconds_left(finished: Sequence[tuple[float, float]], remaining: float) -> float | None:
    """The time left in seconds; None before the second experiment finished.

    The first experiment also prepares images and weights for all, so the pace is measured from its end.

    Args:
        finished: the end in seconds and the work of each finished experiment, in order.
        remaining: the work of the others.
    """
    if len(finished) < 2:
        return None
    elapsed = finished[-1][0] - finished[0][0]
    return elapsed / sum(work for _, work in finished[1:]) * remaining


def duration(seconds: float | None) -> str:
    """A rounded duration, such as `about 12 min`."""
    if seconds is None:
        return "unknown yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
