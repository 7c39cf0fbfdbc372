"""The measurement of robustness as a record, as tables and as text.

Intervals cover the choice of test images: Wilson's for an accuracy, that of `stats.crossed` for a mean over corruptions
and for effects, DeLong's for an AUROC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from src.core import design
from src.core.records import Environment
from src.records.robustness import AttackedArm, CorruptedArm, Effect, OodArm, RobustnessResults
from src.robustness import attacks, corruptions, ood
from src.stats import contrasts, intervals
from src.stats.contrasts import Answers

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]  # columns and rows


@dataclass(frozen=True)
class Measured:
    """What was measured of each arm on n test images.

    Args:
        titles: for people, by arm.
        names, severities: of the C corruptions and their S severities.
        clean: which images (n,) each arm gets right.
        corrupted: which it gets right corrupted, (C, S, n).
        attacked: which it gets right attacked, (n,), by attack and epsilon.
        ood_scores: by arm, score and kind of image, see `measure.ood_scores`.
        far: what the images of another dataset are.
    """

    titles: Mapping[str, str]
    names: Sequence[str]
    severities: Sequence[int]
    clean: Mapping[str, np.ndarray]
    corrupted: Mapping[str, np.ndarray]
    attacked: Mapping[str, attacks.Survivors]
    ood_scores: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
    far: str


def report(
    measured: Measured,
    unavailable: Mapping[str, str],
    question: Sequence[str],
    confidence: float,
    environment: Environment,
) -> RobustnessResults:
    """The record of what was measured.

    Args:
        unavailable: why something could not be measured, by its name.
        question: the two cells or arms that are compared first.
    """
    return RobustnessResults(
        n=len(next(iter(measured.clean.values()))),
        severities=list(measured.severities),
        corruptions=_corruptions(measured, confidence),
        adversarial=_adversarial(measured, confidence),
        ood=_ood(measured, confidence),
        effects=_effects(measured, question, confidence),
        checks=attacks.summarise_checks(measured.attacked),
        far=measured.far,
        unavailable=dict(unavailable),
        environment=environment,
    )


def benchmark(names: Sequence[str]) -> list[int]:
    """The positions of the corruptions that the mean is over: CIFAR-10-C's fifteen, or all if none is among them."""
    return [i for i, name in enumerate(names) if name not in corruptions.EXTRA] or list(range(len(names)))


def _corruptions(measured: Measured, confidence: float) -> list[CorruptedArm]:
    """For each arm the mean accuracy over corruptions and severities, and parts of it."""
    counted = benchmark(measured.names)
    shares = {arm: right[counted].mean((0, 1)) for arm, right in measured.corrupted.items()}  # (n,)
    both = _answers({f"{arm} clean": right for arm, right in measured.clean.items()} | shares)
    families = {
        family: [i for i in counted if measured.names[i] in names] for family, names in corruptions.FAMILIES.items()
    }
    rows = []
    for arm, right in measured.corrupted.items():
        each = right.mean(2)  # (C, S)
        row = CorruptedArm(
            arm=arm,
            title=measured.titles[arm],
            clean=intervals.share(measured.clean[arm], confidence),
            corrupted=contrasts.accuracy(both, arm, confidence).interval,
            drop=contrasts.contrast(both, {f"{arm} clean": 1, arm: -1}, confidence).interval,
            families={family: each[part].mean(0).tolist() for family, part in families.items() if part},
            by_severity=each[counted].mean(0).tolist(),
            by_corruption=dict(zip(measured.names, each.mean(1).tolist(), strict=True)),
        )
        rows.append(row)
    return rows


def _answers(shares: Mapping[str, np.ndarray]) -> list[Answers]:
    """The images' shares (n,) by arm, under the one seed that is measured."""
    return [Answers("0", np.arange(len(next(iter(shares.values())))), shares)]


def _adversarial(measured: Measured, confidence: float) -> list[AttackedArm]:
    rows = []
    for arm, attacked in measured.attacked.items():
        worst = {("worst", size): right for size, right in attacks.worst(attacked).items()}
        for (attack, size), right in {**attacked, **worst}.items():
            accuracy = intervals.share(right, confidence)
            rows.append(AttackedArm(arm=arm, attack=attack, epsilon=size, accuracy=accuracy))
    return rows


def _effects(measured: Measured, question: Sequence[str], confidence: float) -> list[Effect]:
    """The question's pair, and the effects of the 2 x 2 table, on each measure that has their arms."""
    rows: list[Effect] = []
    for measure, shares in _measures(measured).items():
        cells = _cells(list(shares))
        first, second = (cells.get(name, name) for name in question)
        asked: dict[str, Mapping[str, float]] = {"question": {first: 1, second: -1}}
        if len(cells) == len(design.CELLS):
            asked |= {
                name: {cells[cell]: weight for cell, weight in weights.items()}
                for name, weights in intervals.EFFECTS.items()
            }
        for name, by_arm in asked.items():
            if not by_arm.keys() <= shares.keys():
                continue
            difference = contrasts.contrast(_answers(shares), by_arm, confidence).interval
            rows.append(Effect(measure=measure, effect=name, difference=difference))
    return rows


def _measures(measured: Measured) -> dict[str, Mapping[str, np.ndarray]]:
    """By measure and arm a share for each image (n,): of an image's corruptions, or of one image 0 or 1."""
    counted = benchmark(measured.names)
    corrupted = {arm: right[counted].mean((0, 1)) for arm, right in measured.corrupted.items()}
    drop = {arm: measured.clean[arm] - share for arm, share in corrupted.items()}
    measures: dict[str, Mapping[str, np.ndarray]] = {"clean": measured.clean, "corrupted": corrupted, "drop": drop}
    worst = {arm: attacks.worst(attacked) for arm, attacked in measured.attacked.items()}
    for size in next(iter(worst.values()), {}):
        measures[f"adversarial, {size:g}/255"] = {arm: by_size[size] for arm, by_size in worst.items()}
    return measures


def _cells(names: list[str]) -> dict[str, str]:
    """The arms that stand in the 2 x 2 table, or nothing where a column has none."""
    columns = {design.cell(name).split(".")[1] for name in names}
    return design.representatives(names) if columns == {"finetuned", "frozen"} else {}


def _ood(measured: Measured, confidence: float) -> list[OodArm]:
    rows = []
    for arm, scores in measured.ood_scores.items():
        for score, kinds in scores.items():
            for kind in ("near", "far"):
                if kind not in kinds:
                    continue
                known, unknown = kinds["test"], kinds[kind]
                area = ood.auroc(ood.placements(known, unknown), confidence=confidence)
                fpr95, count = ood.fpr95(known, unknown), len(unknown)
                rows.append(OodArm(arm=arm, score=score, against=kind, auroc=area, fpr95=fpr95, unknown=count))
    return rows


def tables(measured: Measured, results: RobustnessResults, confidence: float) -> dict[str, Table]:
    """The CSV files by name."""
    titles = measured.titles
    family = {name: group for group, names in corruptions.FAMILIES.items() for name in names}
    corrupted = [
        (titles[arm], name, family[name], severity, *astuple(intervals.share(right[i, j], confidence)))
        for arm, right in measured.corrupted.items()
        for i, name in enumerate(measured.names)
        for j, severity in enumerate(measured.severities)
    ]
    attacked = [(titles[row.arm], row.attack, row.epsilon, *astuple(row.accuracy)) for row in results.adversarial]
    unknown = [(titles[row.arm], row.score, row.against, *astuple(row.auroc), row.fpr95) for row in results.ood]
    return {
        "corruptions": (("arm", "corruption", "family", "severity", "accuracy", "low", "high"), corrupted),
        "adversarial": (("arm", "attack", "epsilon", "accuracy", "low", "high"), attacked),
        "ood": (("arm", "score", "against", "auroc", "low", "high", "fpr95"), unknown),
    }


def render(results: RobustnessResults) -> str:
    """The terminal's text."""
    titles = {row.arm: row.title for row in results.corruptions}
    width = max(map(len, titles.values()))
    lines = [f"{'arm':{width}} clean  corrupted"]
    for row in results.corruptions:
        mean, low, high = (f"{value:.3f}" for value in astuple(row.corrupted))
        lines.append(f"{row.title:{width}} {row.clean.value:.3f}  {mean}  [{low}, {high}]")
    lines += [
        f"{titles[row.arm]}: {row.accuracy.value:.3f} under every attack of {row.epsilon:g}/255"
        for row in results.adversarial
        if row.attack == "worst"
    ]
    lines += [f"{name} is left out: {why}" for name, why in results.unavailable.items()]
    lines.append(f"checks of the attacks: {results.checks.hold} of {results.checks.made} hold")
    lines += [
        f"  {row.arm}: {row.attack} at {row.epsilon:g}/255 does worse than {row.than} at {row.than_epsilon:g}/255"
        f" ({row.helped} images right, {row.hurt} the other way): distrust its numbers"
        for row in results.checks.broken
    ]
    return "\n".join(lines)
