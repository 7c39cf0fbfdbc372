"""The comparison of all arms on the same test images, as a record, as tables and as text."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from src.compare import questions, verdict
from src.compare.config import Compare, question_fault
from src.core import design, records
from src.core.errors import UserError
from src.records.compare import (
    BaseClasses,
    BaseClassesArm,
    ByFrequency,
    ComparedArm,
    Comparison,
    Contrast,
    Cost,
    ListedBackbone,
    Pair,
    RecallArm,
    WithoutDuplicates,
)
from src.records.evaluate import Evaluation
from src.stats import contrasts, intervals
from src.stats.contrasts import Answers

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]  # columns and rows


@dataclass(frozen=True)
class Arm:
    """One arm: its title for people, and under each of S seeds its logits (S, N, K) and its evaluation.

    The test images are the same under every seed: their labels (N,) and positions `index` (N,).
    """

    title: str
    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    evaluations: Sequence[Evaluation]

    @property
    def evaluation(self) -> Evaluation:
        """The mean over seeds."""
        return records.mean(self.evaluations)


Arms = Mapping[str, Arm]  # by name, such as `resnet.full`


@dataclass(frozen=True)
class Listed:
    """The backbones of the list: their names for people by the beginning of their arms' names, and all their arms."""

    names: Mapping[str, str]
    arms: Arms


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
    seeds: Sequence[int],
    classes: Sequence[str],
    unavailable: Mapping[str, str],
    config: Compare,
    *,
    validated: bool = True,
    train_images: Sequence[int] = (),
    repeated: Sequence[int] = (),
    listed: Listed | None = None,
) -> Comparison:
    """Compare arms that were tested on the same images; the question names arms that are there.

    Args:
        unavailable: why an arm is missing, by its name.
        validated: whether validation accuracies are of images that are not tested on.
        train_images: of each class, where the settings make classes differ in size.
        repeated: positions of test images that have a duplicate among the training images of the data set.
        listed: the backbones of the list, if there is one.
    """
    cells = _cells(arms, config)
    answers = answers_of(arms, seeds)
    compared = _arms(arms, answers, config.confidence)
    comparison = Comparison(
        n=len(answers[0].index),
        classes=list(classes),
        seeds=list(seeds),
        confidence=config.confidence,
        margin=config.margin,
        arms=compared,
        cells=cells,
        best=_best(compared, list(cells.values())) if validated else None,
        base_classes=_base_classes(arms, seeds, config),
        by_frequency=_by_frequency(arms, train_images) if train_images else None,
        unavailable=dict(unavailable),
        **_differences(arms, answers, cells, repeated, config),
        **(_listed(listed, seeds, config) if listed else {}),
    )
    return comparison.model_copy(update={"verdict": verdict.sentences(comparison)})


def _differences(
    arms: Arms, answers: Sequence[Answers], cells: Mapping[str, str], repeated: Sequence[int], config: Compare
) -> dict[str, Any]:
    """The question, also without repeated images, the effects of a whole table and all pairs, as fields."""
    first, second = (cells.get(name, name) for name in config.question)
    titles = {name: arm.title for name, arm in arms.items()}
    return {
        "primary": questions.primary(answers, titles, first, second, config),
        "without_duplicates": _without_duplicates(answers, first, second, repeated, config.confidence),
        "effects": questions.effects(answers, titles, cells, config) if len(cells) == len(design.CELLS) else {},
        "pairs": _pairs(answers, list(arms), config.confidence),
    }


def _cells(arms: Arms, config: Compare) -> dict[str, str]:
    """The arm in each cell of the 2 x 2 table.

    Raises:
        UserError: the question names an arm that is not there.
    """
    cells = design.representatives(list(arms))
    if fault := question_fault(config.question, cells, list(arms)):
        raise UserError(fault)
    return cells


def answers_of(arms: Arms, seeds: Sequence[int], classes: int | None = None, *, told: bool = False) -> list[Answers]:
    """Which images every arm got right under each seed.

    Args:
        classes: on the images of so many first classes alone; None for all. All K logits compete even so, as in the
            report, so that an answer may be a class that is not tested.
        told: the logits of these classes compete alone.
    """
    reference = next(iter(arms.values()))
    kept = slice(None) if classes is None else reference.labels < classes
    columns = slice(classes) if told else slice(None)
    right = {name: intervals.correct(arm.logits[:, kept, columns], arm.labels[kept]) for name, arm in arms.items()}
    return [
        Answers(str(seed), reference.index[kept], {name: part[place] for name, part in right.items()})
        for place, seed in enumerate(seeds)
    ]


def _listed(listed: Listed, seeds: Sequence[int], config: Compare) -> dict[str, Any]:
    """The table of all backbones and the contrasts of them, as fields of the comparison."""
    answers, cells = answers_of(listed.arms, seeds), design.representatives(list(listed.arms))
    rows = []
    for each, name in listed.names.items():
        frozen, finetuned = (cells[f"{each}.{column}"] for column in ("frozen", "finetuned"))
        network = listed.arms[finetuned].evaluation
        row = ListedBackbone(
            name=name,
            frozen_arm=frozen,
            frozen=contrasts.accuracy(answers, frozen, config.confidence).interval,
            finetuned_arm=finetuned,
            finetuned=contrasts.accuracy(answers, finetuned, config.confidence).interval,
            parameters=network.parameters,
            macs=network.macs,
        )
        rows.append(row)
    return {
        "backbones": rows,
        "contrasts": questions.contrasts_of_backbones(answers, cells, listed.names, config),
    }


def _without_duplicates(
    answers: Sequence[Answers], first: str, second: str, repeated: Sequence[int], confidence: float
) -> WithoutDuplicates | None:
    """The question's difference without these test images; None if none of them was tested."""
    kept = ~np.isin(answers[0].index, repeated)
    if kept.all() or not kept.any():
        return None
    rest = [
        Answers(one.cluster, one.index[kept], {name: right[kept] for name, right in one.right.items()})
        for one in answers
    ]
    difference = contrasts.contrast(rest, {first: 1, second: -1}, confidence).interval
    return WithoutDuplicates(n=int(kept.sum()), difference=difference)


def _arms(arms: Arms, answers: Sequence[Answers], confidence: float) -> list[ComparedArm]:
    rows = []
    for name, arm in arms.items():
        accuracy, evaluation = contrasts.accuracy(answers, name, confidence), arm.evaluation
        row = ComparedArm(
            arm=name,
            title=arm.title,
            accuracy=accuracy.interval,
            seeds=accuracy.each,
            val_accuracy=evaluation.val_accuracy,
            configurations=evaluation.configurations,
            cost=Cost(**evaluation.model_dump(include=set(Cost.model_fields))),
        )
        rows.append(row)
    return rows


def _best(arms: Sequence[ComparedArm], cells: Sequence[str]) -> str | None:
    """The cell's arm that is right most often on validation images, if all have some; of equal ones the first."""
    accuracy = {arm.arm: arm.val_accuracy for arm in arms if arm.arm in cells and arm.val_accuracy is not None}
    return max(accuracy, key=lambda name: accuracy[name]) if len(accuracy) == len(cells) else None


def _pairs(answers: Sequence[Answers], names: Sequence[str], confidence: float) -> list[Pair]:
    return [
        Pair(first=a, second=b, difference=contrasts.contrast(answers, {a: 1, b: -1}, confidence).interval)
        for a, b in combinations(names, 2)
    ]


def _base_classes(arms: Arms, seeds: Sequence[int], config: Compare) -> BaseClasses:
    full, restricted = (answers_of(arms, seeds, config.base_classes, told=told) for told in (False, True))
    rows = [
        BaseClassesArm(
            arm=name,
            title=arm.title,
            full_head=contrasts.accuracy(full, name, config.confidence).interval,
            restricted=contrasts.accuracy(restricted, name, config.confidence).interval,
        )
        for name, arm in arms.items()
    ]
    return BaseClasses(count=config.base_classes, arms=rows)


def _by_frequency(arms: Arms, train_images: Sequence[int]) -> ByFrequency:
    recalls = {name: intervals.recall(arm.logits, arm.labels).tolist() for name, arm in arms.items()}
    rows = [
        RecallArm(arm=name, title=arms[name].title, recall=recall, balanced_accuracy=sum(recall) / len(recall))
        for name, recall in recalls.items()
    ]
    return ByFrequency(train_images=list(train_images), arms=rows)


def tables(comparison: Comparison) -> dict[str, Table]:
    """The CSV files, some of which DVC draws, by name."""
    rows = {arm.arm: (arm.title, *astuple(arm.accuracy)) for arm in comparison.arms}
    pairs = [(rows[pair.first][0], rows[pair.second][0], *astuple(pair.difference)) for pair in comparison.pairs]
    base = [(arm.title, arm.full_head.value, arm.restricted.value) for arm in comparison.base_classes.arms]
    cells = [(*cell.split("."), *rows[arm]) for cell, arm in comparison.cells.items()]
    named: dict[str, Table] = {
        "arms": (("arm", "accuracy", "low", "high"), list(rows.values())),
        "base_classes": (("arm", "accuracy", "restricted"), base),
        "pairs": (("first", "second", "difference", "low", "high"), pairs),
        "table": (("backbone", "adaptation", "arm", "accuracy", "low", "high"), cells),
        "question": (("seed", "difference"), list(comparison.primary.seeds.items())),
    }
    if comparison.backbones:
        columns = [
            (row.name, column, arm, *astuple(accuracy), row.parameters, row.macs)
            for row in comparison.backbones
            for column, arm, accuracy in (
                ("frozen", row.frozen_arm, row.frozen),
                ("finetuned", row.finetuned_arm, row.finetuned),
            )
        ]
        heads = ("backbone", "adaptation", "arm", "accuracy", "low", "high", "parameters", "macs")
        named["backbones"] = (heads, columns)
    if comparison.by_frequency:
        recalls = [
            (arm.title, *row)
            for arm in comparison.by_frequency.arms
            for row in zip(comparison.classes, comparison.by_frequency.train_images, arm.recall, strict=True)
        ]
        named["by_frequency"] = (("arm", "class", "train_images", "recall"), recalls)
    return named


def render(comparison: Comparison) -> str:
    """The terminal's text: every arm with its accuracy and cost, the question, the effects, and the verdict."""
    width = max(len(arm.title) for arm in comparison.arms)
    level = f"{100 * comparison.confidence:g}% interval"
    lines = [f"{'arm':<{width}}  accuracy  {level:<16}  {'trained, MACs':>13}  {'images/s':>9}"]
    for arm in comparison.arms:
        accuracy = f"{arm.accuracy.value:8.4f}  [{arm.accuracy.low:.4f}, {arm.accuracy.high:.4f}]"
        cost = f"{arm.cost.train_macs:13.2g}  {arm.cost.images_per_second:9,.0f}"
        lines.append(f"{arm.title:<{width}}  {accuracy}  {cost}")
    seeds = ", ".join(map(str, comparison.seeds))
    lines.append(
        f"{comparison.n:,} test images, the same for every arm; seed{'s'[: len(comparison.seeds) > 1]} {seeds}"
    )
    lines += [_shown(comparison.primary), *_each(comparison.primary), *map(_shown, comparison.effects.values())]
    if rest := comparison.without_duplicates:
        value, low, high = (100 * part for part in astuple(rest.difference))
        lines.append(
            f"on the {rest.n:,} test images without a duplicate in training the question's difference is "
            f"{value:+.2f} points  [{low:+.2f}, {high:+.2f}]"
        )
    lines += _backbones(comparison)
    lines += [f"{arm} is unavailable: {why}" for arm, why in comparison.unavailable.items()]
    return "\n".join([*lines, "", *comparison.verdict])


def _backbones(comparison: Comparison) -> list[str]:
    """The table of all backbones, and the contrasts of them; nothing without a list."""
    if not comparison.backbones:
        return []
    width = max(len(row.name) for row in comparison.backbones)
    lines = [f"{'backbone':<{width}}  {'parameters':>10}  {'frozen':<24}  fine-tuned"]
    for row in comparison.backbones:
        columns = (row.frozen, row.finetuned)
        cells = (f"{part.value:.4f}  [{part.low:.4f}, {part.high:.4f}]" for part in columns)
        lines.append("  ".join([f"{row.name:<{width}}", f"{row.parameters:10,}", *cells]))
    return lines + [f"{name}, {_shown(contrast)}" for name, contrast in comparison.contrasts.items()]


def _shown(contrast: Contrast) -> str:
    value, low, high = (100 * part for part in astuple(contrast.difference))
    interval, over = f"{value:+.2f} points  [{low:+.2f}, {high:+.2f}]", f"over {contrast.covers}"
    return f"{contrast.title}: {interval}  p = {contrast.p:.2g} {over}: {contrast.said}"


def _each(contrast: Contrast) -> list[str]:
    """Each seed's own difference, and the variance of a run's difference; nothing of a single seed."""
    parts = contrast.parts
    if parts.seeds is None or parts.residual is None:
        return []
    seeds = ", ".join(f"{100 * value:+.2f} (seed {seed})" for seed, value in contrast.seeds.items())
    squares = (f"{1e4 * part:.2f}" for part in (parts.seeds, parts.images, parts.residual))
    return [
        f"  {seeds}",
        "  variance of one run, points squared: seed {}, images {}, both together {}".format(*squares),
    ]
