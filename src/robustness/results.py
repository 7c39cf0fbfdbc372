"""What every arm got right under corruptions and attacks -> metrics/robustness.json, tables and text.

Intervals cover the choice of test images, as in `compare`: Wilson's for an accuracy, the paired bootstrap for a mean
over corruptions and for effects, DeLong's for an AUROC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from src.core import design
from src.robustness import attacks, corruptions, ood
from src.stats import intervals
from src.stats.intervals import Interval

Row = dict[str, Any]
Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Measured:
    """Of each arm: which test images (n,) it gets right as they are, corrupted (C, S, n), and attacked (n,) by attack
    and epsilon; and how strange it finds images, by score and kind (see `robustness`)."""

    titles: Mapping[str, str]
    names: Sequence[str]
    severities: Sequence[int]
    clean: Mapping[str, np.ndarray]
    corrupted: Mapping[str, np.ndarray]
    attacked: Mapping[str, Mapping[tuple[str, float], np.ndarray]]
    strange: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]


def report(
    found: Measured, unavailable: list[Row], *, far_name: str, confidence: float, resamples: int, seed: int
) -> Row:
    """Everything that metrics/robustness.json says; lists hold what should be no column of DVC's tables.

    Args:
        unavailable: what could not be measured, each with `what` and `why`.
        seed: of the bootstrap.
    """
    how: Row = {"confidence": confidence, "resamples": resamples, "seed": seed}
    corrupted, against = _corruptions(found, **how), _adversarial(found, confidence)
    strange = _ood(found, confidence)
    columns: Row = {role: {} for role in design.ROLES}
    for row in corrupted:
        role, adaptation = design.split(row["arm"])
        columns[role][adaptation] = {"clean": row["clean"]["value"], "corrupted": row["corrupted"]["value"]}
    for row in against:
        if row["attack"] == "worst" and row["epsilon"] == against[0]["epsilon"]:
            role, adaptation = design.split(row["arm"])
            columns[role][adaptation]["adversarial"] = row["accuracy"]["value"]
    for row in strange:
        if row["score"] == "msp":
            role, adaptation = design.split(row["arm"])
            columns[role][adaptation][f"{row['against']}_auroc"] = row["auroc"]["value"]
    return {
        **{role: part for role, part in columns.items() if part},
        "n": len(next(iter(found.clean.values()))),
        "corruptions": corrupted,
        "severities": list(found.severities),
        "adversarial": against,
        "ood": strange,
        "effects": _effects(found, **how),
        "sanity": [attacks.attack_summary(found.attacked)],
        "far": [far_name],
        "unavailable": unavailable,
    }


def benchmark(names: Sequence[str]) -> list[int]:
    """The places of the corruptions that the mean is over: CIFAR-10-C's fifteen; all, where none is among these."""
    return [i for i, name in enumerate(names) if name not in corruptions.EXTRA] or list(range(len(names)))


def _corruptions(found: Measured, *, confidence: float, resamples: int, seed: int) -> list[Row]:
    """For each arm the mean accuracy over corruptions and severities, and parts of it."""
    counted = benchmark(found.names)
    shares = {arm: right[counted].mean((0, 1)) for arm, right in found.corrupted.items()}  # (n,)
    drops = {f"{arm} drop": found.clean[arm] - share for arm, share in shares.items()}
    drawn = intervals.resample_shares({**shares, **drops}, confidence=confidence, resamples=resamples, seed=seed)
    rows = []
    for arm, right in found.corrupted.items():
        each = right.mean(2)  # (C, S)
        groups = {
            family: [i for i in counted if found.names[i] in names] for family, names in corruptions.FAMILIES.items()
        }
        rows.append(
            {
                "arm": arm,
                "title": found.titles[arm],
                "clean": asdict(intervals.share(found.clean[arm], confidence)),
                "corrupted": asdict(drawn.contrast({arm: 1})),
                "drop": asdict(drawn.contrast({f"{arm} drop": 1})),
                "families": {family: each[group].mean(0).tolist() for family, group in groups.items() if group},
                "by_severity": each[counted].mean(0).tolist(),
                "by_corruption": dict(zip(found.names, each.mean(1).tolist(), strict=True)),
            }
        )
    return rows


def _adversarial(found: Measured, confidence: float) -> list[Row]:
    rows = []
    for arm, attacked in found.attacked.items():
        every = {**attacked, **{("worst", size): right for size, right in attacks.worst(attacked).items()}}
        for (name, size), right in every.items():
            rows.append(
                {"arm": arm, "attack": name, "epsilon": size, "accuracy": asdict(intervals.share(right, confidence))}
            )
    return rows


def _effects(found: Measured, *, confidence: float, resamples: int, seed: int) -> list[Row]:
    """The question's pair, and the effects of the 2 x 2 table, on each kind of robustness; differences of shares."""
    counted = benchmark(found.names)
    shares: dict[str, Mapping[str, np.ndarray]] = {
        "clean": found.clean,
        "corrupted": {arm: right[counted].mean((0, 1)) for arm, right in found.corrupted.items()},
    }
    shares["drop"] = {arm: found.clean[arm] - share for arm, share in shares["corrupted"].items()}
    left = {arm: attacks.worst(attacked) for arm, attacked in found.attacked.items()}
    for size in next(iter(left.values()), {}):
        shares[f"adversarial, {size:g}/255"] = {arm: by_size[size] for arm, by_size in left.items()}
    rows: list[Row] = []
    for measure, by_arm in shares.items():
        cells = _cells(list(by_arm))
        if not set(design.QUESTION) <= set(cells):
            continue
        drawn = intervals.resample_shares(by_arm, confidence=confidence, resamples=resamples, seed=seed)
        first, second = (cells[name] for name in design.QUESTION)
        effects = {"question": drawn.contrast({first: 1, second: -1})}
        if len(cells) == len(design.CELLS):
            effects |= intervals.effects(drawn, cells)
        rows += [{"measure": measure, "effect": name, **asdict(value)} for name, value in effects.items()]
    return rows


def _cells(names: list[str]) -> dict[str, str]:
    """The arms that stand in the 2 x 2 table, or nothing where a column has none."""
    columns = {design.cell(name).split(".")[1] for name in names}
    return design.representatives(names) if columns == {"finetuned", "frozen"} else {}


def _ood(found: Measured, confidence: float) -> list[Row]:
    rows = []
    for arm, scores in found.strange.items():
        for score, kinds in scores.items():
            for kind in ("near", "far"):
                if kind not in kinds:
                    continue
                parts = {arm: ood.placements(kinds["test"], kinds[kind])}
                area = ood.auroc(parts, {arm: 1}, confidence=confidence)
                area = Interval(area.value, max(0.0, area.low), min(1.0, area.high))
                row = {"arm": arm, "score": score, "against": kind, "auroc": asdict(area)}
                rows.append({**row, "fpr95": ood.fpr95(kinds["test"], kinds[kind]), "unknown": len(kinds[kind])})
    return rows


def tables(found: Measured, result: Mapping[str, Any], confidence: float) -> dict[str, Table]:
    """The CSV files by name: their columns and rows."""
    titles = found.titles
    family = {name: group for group, names in corruptions.FAMILIES.items() for name in names}
    corrupted = [
        (titles[arm], name, family[name], severity, *asdict(intervals.share(right[i, j], confidence)).values())
        for arm, right in found.corrupted.items()
        for i, name in enumerate(found.names)
        for j, severity in enumerate(found.severities)
    ]
    against = [(titles[r["arm"]], r["attack"], r["epsilon"], *r["accuracy"].values()) for r in result["adversarial"]]
    strange = [(titles[r["arm"]], r["score"], r["against"], *r["auroc"].values(), r["fpr95"]) for r in result["ood"]]
    return {
        "corruptions": (("arm", "corruption", "family", "severity", "accuracy", "low", "high"), corrupted),
        "adversarial": (("arm", "attack", "epsilon", "accuracy", "low", "high"), against),
        "ood": (("arm", "score", "against", "auroc", "low", "high", "fpr95"), strange),
    }


def render(result: Row) -> str:
    """The terminal's text."""
    width = max(len(row["title"]) for row in result["corruptions"])
    lines = [f"{'arm':{width}} clean  corrupted"]
    for row in result["corruptions"]:
        mean, low, high = (f"{value:.3f}" for value in row["corrupted"].values())
        lines.append(f"{row['title']:{width}} {row['clean']['value']:.3f}  {mean}  [{low}, {high}]")
    titles = {row["arm"]: row["title"] for row in result["corruptions"]}
    lines += [
        f"{titles[row['arm']]}: {row['accuracy']['value']:.3f} under every attack of {row['epsilon']:g}/255"
        for row in result["adversarial"]
        if row["attack"] == "worst"
    ]
    lines += [f"{row['what']} is left out: {row['why']}" for row in result["unavailable"]]
    (checks,) = result["sanity"]
    lines.append(f"checks of the attacks: {checks['hold']} of {checks['made']} hold")
    lines += [
        f"  {row['arm']}: {row['attack']} at {row['epsilon']:g}/255 does worse than {row['than']} at "
        f"{row['than_epsilon']:g}/255 ({row['helped']} images right, {row['hurt']} the other way): distrust its numbers"
        for row in checks["broken"]
    ]
    return "\n".join(lines)
