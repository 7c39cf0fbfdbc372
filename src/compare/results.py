"""The predictions and costs of all arms -> what metrics/compare.json says, and the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from src.compare import verdict
from src.core import design
from src.core.design import COST, representatives
from src.core.errors import UserError
from src.stats import intervals
from src.stats.intervals import Interval


@dataclass(frozen=True)
class Arm:
    """One arm for people, its logits (N, K) of the test images with labels (N,) and positions (N,), and its metrics."""

    title: str
    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    metrics: Mapping[str, Any]


def require_same_images(found: Mapping[str, Arm]) -> None:
    """Refuse arms that were tested on different images.

    Raises:
        UserError: naming the two.
    """
    (first, reference), *others = found.items()
    for name, arm in others:
        if not np.array_equal(arm.index, reference.index) or not np.array_equal(arm.labels, reference.labels):
            raise UserError(f"{name} and {first} were tested on different images; run `dvc repro -f`")


def report(
    found: Mapping[str, Arm],
    classes: Sequence[str],
    unavailable: Sequence[Mapping[str, str]],
    *,
    base_classes: int,
    confidence: float,
    resamples: int,
    seed: int,
    train_images: Sequence[int] = (),
) -> dict[str, Any]:
    """Everything that metrics/compare.json says: inside lists, of which DVC makes no columns, what should be none.

    Args:
        found: every arm by name, e.g. `resnet.full`, on the same images.
        unavailable: arms that could not be had, each with `arm` and `why`.
        base_classes: how many classes, from the first, the report's bar chart tests.
        train_images: of each class, where the settings have them differ in size.
    """
    logits, labels = _answers(found)
    resampled = intervals.resample(logits, labels, confidence=confidence, resamples=resamples, seed=seed)
    cells = representatives(list(found))
    first, second = (cells[name] for name in design.QUESTION)
    result: dict[str, Any] = {
        "n": len(labels),
        "classes": list(classes),
        "confidence": confidence,
        "resamples": resamples,
        "arms": _arms(found, intervals.accuracies(logits, labels, confidence=confidence)),
        "cells": [cells],
        "lead": asdict(resampled.contrast({first: 1, second: -1})),
        "pairs": [asdict(pair) for pair in intervals.pairs(logits, labels, resampled)],
        "base_classes": {"count": base_classes, "arms": _base_classes(found, base_classes, confidence)},
        "unavailable": [dict(row) for row in unavailable],
    }
    if train_images:
        result["by_frequency"] = {"train_images": list(train_images), "arms": _by_frequency(found)}
    if len(cells) == 4:
        result["effects"] = {name: asdict(value) for name, value in intervals.effects(resampled, cells).items()}
    return result | {"verdict": verdict.sentences(result)}


def _answers(found: Mapping[str, Arm]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Logits (N, K) by arm, and the labels (N,) that they have in common."""
    return {name: arm.logits for name, arm in found.items()}, next(iter(found.values())).labels


def _arms(found: Mapping[str, Arm], accuracies: Mapping[str, Interval]) -> list[dict[str, Any]]:
    return [
        {
            "arm": name,
            "title": arm.title,
            "accuracy": asdict(accuracies[name]),
            "val_accuracy": arm.metrics["val_accuracy"],
            "cost": {key: arm.metrics[key] for key in COST},
        }
        for name, arm in found.items()
    ]


def _base_classes(found: Mapping[str, Arm], count: int, confidence: float) -> list[dict[str, Any]]:
    logits, labels = _answers(found)
    full, restricted = (
        intervals.accuracies(*intervals.first_classes(logits, labels, count, restricted=only), confidence=confidence)
        for only in (False, True)
    )
    return [
        {
            "arm": name,
            "title": arm.title,
            "full_head": asdict(full[name]),
            "restricted": asdict(restricted[name]),
        }
        for name, arm in found.items()
    ]


def _by_frequency(found: Mapping[str, Arm]) -> list[dict[str, Any]]:
    """The recall of each class, and their mean: balanced accuracy, which is accuracy where the test set is balanced."""
    recalls = {name: intervals.recall(arm.logits, arm.labels).tolist() for name, arm in found.items()}
    return [
        {"arm": name, "title": found[name].title, "recall": recall, "balanced_accuracy": sum(recall) / len(recall)}
        for name, recall in recalls.items()
    ]


def tables(result: Mapping[str, Any]) -> dict[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]:
    """The CSV files that DVC draws, by name: columns and rows."""
    rows = {row["arm"]: [row["title"], *row["accuracy"].values()] for row in result["arms"]}
    pairs = [
        [
            *(rows[pair[which]][0] for which in ("first", "second")),
            *pair["difference"].values(),
            pair["p"],
            pair["p_holm"],
        ]
        for pair in result["pairs"]
    ]
    base = [
        [row["title"], row["full_head"]["value"], row["restricted"]["value"]] for row in result["base_classes"]["arms"]
    ]
    cells = [[*name.split("."), *rows[arm]] for name, arm in result["cells"][0].items()]
    found: dict[str, tuple[Sequence[str], Sequence[Sequence[Any]]]] = {
        "arms": (("arm", "accuracy", "low", "high"), list(rows.values())),
        "base_classes": (("arm", "accuracy", "restricted"), base),
        "pairs": (("first", "second", "difference", "low", "high", "p", "p_holm"), pairs),
        "table": (("backbone", "adaptation", "arm", "accuracy", "low", "high"), cells),
    }
    if "by_frequency" in result:
        sizes = result["by_frequency"]["train_images"]
        recalls = [
            [arm["title"], *row]
            for arm in result["by_frequency"]["arms"]
            for row in zip(result["classes"], sizes, arm["recall"], strict=True)
        ]
        found["by_frequency"] = (("arm", "class", "train_images", "recall"), recalls)
    return found


def render(result: Mapping[str, Any]) -> str:
    """For the terminal: every arm with its accuracy and cost, the effects in points, and the verdict."""
    width = max(len(arm["title"]) for arm in result["arms"])
    level = f"{100 * result['confidence']:g}% interval"
    lines = [f"{'arm':<{width}}  accuracy  {level:<16}  {'trained, MACs':>13}  {'images/s':>9}"]
    for arm in result["arms"]:
        value, low, high = (arm["accuracy"][part] for part in ("value", "low", "high"))
        cost = f"{arm['cost']['train_macs']:13.2g}  {arm['cost']['images_per_second']:9,.0f}"
        lines.append(f"{arm['title']:<{width}}  {value:8.4f}  [{low:.4f}, {high:.4f}]  {cost}")
    lines.append(f"{result['n']:,} test images, the same for every arm; one seed")
    first, second = (result["cells"][0][name] for name in design.QUESTION)
    for name, gap in ((f"{first} less {second}", result["lead"]), *result.get("effects", {}).items()):
        low, middle, high = (100 * gap[part] for part in ("low", "value", "high"))
        lines.append(f"{name}: {middle:+.2f} points  [{low:+.2f}, {high:+.2f}]")
    lines += [f"{row['arm']} is unavailable: {row['why']}" for row in result["unavailable"]]
    return "\n".join([*lines, "", *result["verdict"]])
