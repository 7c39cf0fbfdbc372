"""The comparison of all arms on the same test images, as a record, as tables and as text."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from src.compare import verdict
from src.compare.config import Compare
from src.core import design
from src.core.errors import UserError
from src.core.records import Interval
from src.records.compare import (
    BaseClasses,
    BaseClassesArm,
    ByFrequency,
    ComparedArm,
    Comparison,
    Cost,
    RecallArm,
)
from src.records.evaluate import Evaluation
from src.stats import intervals

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]  # columns and rows


@dataclass(frozen=True)
class Arm:
    """One arm: its title for people, its logits (N, K) of the test images, labels (N,) and positions (N,)."""

    title: str
    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    evaluation: Evaluation


Arms = Mapping[str, Arm]  # by name, such as `resnet.full`


def require_same_images(arms: Arms) -> None:
    """Refuse arms that were tested on different images.

    Raises:
        UserError: naming the two.
    """
    (first, reference), *others = arms.items()
    for name, arm in others:
        if not np.array_equal(arm.index, reference.index) or not np.array_equal(arm.labels, reference.labels):
            raise UserError(f"{name} and {first} were tested on different images; run `dvc repro -f`")


def report(
    arms: Arms,
    classes: Sequence[str],
    unavailable: Mapping[str, str],
    config: Compare,
    *,
    seed: int,
    train_images: Sequence[int] = (),
) -> Comparison:
    """Compare arms that were tested on the same images.

    Args:
        unavailable: why an arm is missing, by its name.
        seed: of the bootstrap.
        train_images: of each class, where the settings make classes differ in size.
    """
    logits, labels = predictions(arms)
    confidence = config.confidence
    resampled = intervals.resample(logits, labels, confidence=confidence, resamples=config.resamples, seed=seed)
    cells = design.representatives(list(arms))
    first, second = (cells[name] for name in design.QUESTION)
    comparison = Comparison(
        n=len(labels),
        classes=list(classes),
        confidence=confidence,
        resamples=config.resamples,
        arms=_arms(arms, intervals.accuracies(logits, labels, confidence=confidence)),
        cells=cells,
        lead=resampled.contrast({first: 1, second: -1}),
        effects=intervals.effects(resampled, cells) if len(cells) == len(design.CELLS) else {},
        pairs=intervals.pairs(logits, labels, resampled),
        base_classes=_base_classes(arms, config.base_classes, confidence),
        by_frequency=_by_frequency(arms, train_images) if train_images else None,
        unavailable=dict(unavailable),
    )
    return comparison.model_copy(update={"verdict": verdict.sentences(comparison)})


def predictions(arms: Arms) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Logits (N, K) by arm, and the labels (N,) of all."""
    return {name: arm.logits for name, arm in arms.items()}, next(iter(arms.values())).labels


def _arms(arms: Arms, accuracies: Mapping[str, Interval]) -> list[ComparedArm]:
    return [
        ComparedArm(
            arm=name,
            title=arm.title,
            accuracy=accuracies[name],
            val_accuracy=arm.evaluation.val_accuracy,
            cost=Cost(**arm.evaluation.model_dump(include=set(Cost.model_fields))),
        )
        for name, arm in arms.items()
    ]


def _base_classes(arms: Arms, count: int, confidence: float) -> BaseClasses:
    logits, labels = predictions(arms)
    full, restricted = (
        intervals.accuracies(*intervals.first_classes(logits, labels, count, restricted=only), confidence=confidence)
        for only in (False, True)
    )
    rows = [
        BaseClassesArm(arm=name, title=arm.title, full_head=full[name], restricted=restricted[name])
        for name, arm in arms.items()
    ]
    return BaseClasses(count=count, arms=rows)


def _by_frequency(arms: Arms, train_images: Sequence[int]) -> ByFrequency:
    recalls = {name: intervals.recall(arm.logits, arm.labels).tolist() for name, arm in arms.items()}
    rows = [
        RecallArm(arm=name, title=arms[name].title, recall=recall, balanced_accuracy=sum(recall) / len(recall))
        for name, recall in recalls.items()
    ]
    return ByFrequency(train_images=list(train_images), arms=rows)


def tables(comparison: Comparison) -> dict[str, Table]:
    """The CSV files that DVC draws, by name."""
    rows = {arm.arm: (arm.title, *astuple(arm.accuracy)) for arm in comparison.arms}
    pairs = [
        (rows[pair.first][0], rows[pair.second][0], *astuple(pair.difference), pair.p, pair.p_holm)
        for pair in comparison.pairs
    ]
    base = [(arm.title, arm.full_head.value, arm.restricted.value) for arm in comparison.base_classes.arms]
    cells = [(*cell.split("."), *rows[arm]) for cell, arm in comparison.cells.items()]
    named: dict[str, Table] = {
        "arms": (("arm", "accuracy", "low", "high"), list(rows.values())),
        "base_classes": (("arm", "accuracy", "restricted"), base),
        "pairs": (("first", "second", "difference", "low", "high", "p", "p_holm"), pairs),
        "table": (("backbone", "adaptation", "arm", "accuracy", "low", "high"), cells),
    }
    if comparison.by_frequency:
        recalls = [
            (arm.title, *row)
            for arm in comparison.by_frequency.arms
            for row in zip(comparison.classes, comparison.by_frequency.train_images, arm.recall, strict=True)
        ]
        named["by_frequency"] = (("arm", "class", "train_images", "recall"), recalls)
    return named


def render(comparison: Comparison) -> str:
    """The terminal's text: every arm with its accuracy and cost, the effects in points, and the verdict."""
    width = max(len(arm.title) for arm in comparison.arms)
    level = f"{100 * comparison.confidence:g}% interval"
    lines = [f"{'arm':<{width}}  accuracy  {level:<16}  {'trained, MACs':>13}  {'images/s':>9}"]
    for arm in comparison.arms:
        accuracy = f"{arm.accuracy.value:8.4f}  [{arm.accuracy.low:.4f}, {arm.accuracy.high:.4f}]"
        cost = f"{arm.cost.train_macs:13.2g}  {arm.cost.images_per_second:9,.0f}"
        lines.append(f"{arm.title:<{width}}  {accuracy}  {cost}")
    lines.append(f"{comparison.n:,} test images, the same for every arm; one seed")
    first, second = (comparison.cells[name] for name in design.QUESTION)
    for name, gap in {f"{first} less {second}": comparison.lead, **comparison.effects}.items():
        value, low, high = (100 * part for part in astuple(gap))
        lines.append(f"{name}: {value:+.2f} points  [{low:+.2f}, {high:+.2f}]")
    lines += [f"{arm} is unavailable: {why}" for arm, why in comparison.unavailable.items()]
    return "\n".join([*lines, "", *comparison.verdict])
