"""What the tables of the report page hold, from the metrics of all arms and their comparison.

`compared` is metrics/compare.json's `compare`, `measured` the metrics of each arm by its name, `resnet.full`.
"""

from typing import Any

import numpy as np

from src.core import design
from src.core.design import OOD_SCORES

Table = list[dict[str, Any]]

MOST_CLASSES = 20  # beyond it a confusion matrix is no longer read: the most confused pairs stand for it
MOST_PAIRS = 15


def by_arm(cells: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The metrics files of all cells as one mapping from an arm's name to what was measured of it."""
    return {
        f"{role}.{adaptation}": found
        for cell in cells
        for role, adaptations in cell.items()
        for adaptation, found in adaptations.items()
        if adaptation != "unavailable"
    }


def cells(compared: dict[str, Any], measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The cells of the 2 x 2 table that were run, by name: which arm stands there, how accurate it is, at what cost."""
    by_name = {arm["arm"]: arm for arm in compared["arms"]}
    (standing,) = compared["cells"]
    found = {}
    for name in design.CELLS:
        if standing.get(name) in by_name:
            found[name] = {**_row(by_name[standing[name]], measured), "question": name in design.QUESTION}
    best = max((cell["accuracy"]["value"] for cell in found.values()), default=None)
    return {name: {**cell, "best": cell["accuracy"]["value"] == best} for name, cell in found.items()}


def _row(arm: dict[str, Any], measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One of `compared`'s arms with its name taken apart and what was measured of it."""
    role, adaptation = design.split(arm["arm"])
    taken_apart = {"role": role, "adaptation": adaptation, "finetuned": design.is_finetuned(arm["arm"])}
    return {**arm, **taken_apart, "measured": measured[arm["arm"]]}


def effects(compared: dict[str, Any], cells: dict[str, dict[str, Any]]) -> Table:
    """The difference that the question asks for and, where all four cells were run, what it is made of."""
    rows = [{"name": "lead", **compared["lead"]}]
    if len(cells) == len(design.CELLS):
        rows += [{"name": name, **found} for name, found in compared.get("effects", {}).items()]
    reach = _reach(rows)
    return [{**row, "reach": reach, "covers_zero": row["low"] <= 0 <= row["high"]} for row in rows]


def pairs(compared: dict[str, Any]) -> Table:
    """Every pair of arms under the names that people read; the question's pair is marked."""
    titles = {arm["arm"]: arm["title"] for arm in compared["arms"]}
    (standing,) = compared["cells"]
    asked = {standing.get(name) for name in design.QUESTION}
    reach = _reach([pair["difference"] for pair in compared["pairs"]])
    return [
        {
            **pair,
            "titles": [titles[pair["first"]], titles[pair["second"]]],
            "question": {pair["first"], pair["second"]} == asked,
            "reach": reach,
        }
        for pair in compared["pairs"]
    ]


def _reach(found: Table) -> float:
    """The largest bound, where the axis of a picture of differences ends on both sides."""
    return max((abs(bound) for row in found for bound in (row["low"], row["high"])), default=0) or 1.0


def all_arms(compared: dict[str, Any], measured: dict[str, dict[str, Any]]) -> Table:
    """All arms, the most accurate first, with what was chosen on validation images or could not be predicted."""
    return sorted((_row(arm, measured) for arm in compared["arms"]), key=lambda row: -row["accuracy"]["value"])


def searches(tuned: dict[str, Any], compared: dict[str, Any], measured: dict[str, dict[str, Any]]) -> Table:
    """What each arm's settings took to be found on validation images: fine-tuned ones by `tune`, probes by their grid.

    Args:
        tuned: metrics/tune.json's `tune`, or nothing, where nothing was tuned.
    """
    titles = {arm["arm"]: arm["title"] for arm in compared["arms"]}
    (standing,) = compared["cells"]
    rows = []
    for role in design.ROLES:
        if role in tuned:
            rows.append({"title": titles[standing[f"{role}.finetuned"]], **tuned[role]})
        if tuned and (probe := measured.get(f"{role}.linear")):
            cost = {
                name: probe[name] for name in ("c", "configurations", "val_accuracy", "train_macs", "train_seconds")
            }
            rows.append({"title": titles[f"{role}.linear"], **cost})
    return rows


def per_class(cells: dict[str, dict[str, Any]]) -> Table:
    """For each class its test images and what each cell reaches on them."""
    columns = [cell["measured"]["per_class"] for cell in cells.values()]
    return [{"class": row[0]["class"], "n": row[0]["n"], "cells": row} for row in zip(*columns, strict=True)]


def confusions(cells: dict[str, dict[str, Any]], classes: list[str]) -> dict[str, dict[str, Any]]:
    """The confusion of each cell, by its name."""
    return {name: confusion(cell["measured"]["confusion"], classes) for name, cell in cells.items()}


def confusion(counts: list[list[int]], classes: list[str]) -> dict[str, Any]:
    """A confusion matrix (K, K), actual class by row, ready to be drawn.

    `rows`: each class with its cells, shares of the class's images; `shade` is darker than the share, by a square
    root, so that a mistake of a few per cent is seen. With more than MOST_CLASSES classes `pairs` stand for the
    matrix: the most frequent mistakes, most frequent first.
    """
    matrix = np.array(counts)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)  # (K, K)
    if len(classes) <= MOST_CLASSES:
        return {"rows": [_confusion_row(label, matrix, share, classes) for label in range(len(classes))], "pairs": []}
    mistakes = np.where(np.eye(len(classes), dtype=bool), 0, matrix)
    places = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [
        {"actual": classes[row], "predicted": classes[column], "count": int(count), "share": count / matrix[row].sum()}
        for row, column in zip(*np.unravel_index(places, matrix.shape), strict=True)
        if (count := mistakes[row, column])
    ]
    return {"rows": [], "pairs": pairs}


def _confusion_row(label: int, matrix: np.ndarray, share: np.ndarray, classes: list[str]) -> dict[str, Any]:
    cells = [
        {"count": int(matrix[label, other]), "share": part, "shade": part**0.5, "right": other == label}
        for other, part in enumerate(share[label].tolist())
    ]
    return {"class": classes[label], "cells": cells}


def environments(compared: dict[str, Any], measured: dict[str, dict[str, Any]]) -> Table:
    """Each machine and set of versions, and the arms that were computed with it."""
    found: Table = []
    for arm in compared["arms"]:
        for environment in measured[arm["arm"]].get("environment", []):
            known = next((row for row in found if row["environment"] == environment), None)
            if known is None:
                known = {"environment": environment, "titles": []}
                found.append(known)
            known["titles"].append(arm["title"])
    return found


AGAINST = ("near", "far")
OTHERS = ("noise", "pgd_short", "worst")  # rows of no attack of their own


def robustness_section(found: dict[str, Any]) -> dict[str, Any]:
    """The tables of corruptions, attacks and unknown images, arm by arm, and what is said beside them."""
    titles = {row["arm"]: row["title"] for row in found["corruptions"]}
    return {
        "n": found["n"],
        "severities": found["severities"],
        "families": list(found["corruptions"][0]["families"]),
        "corruptions": [_with_means(row) for row in found["corruptions"]],
        "epsilons": list(dict.fromkeys(row["epsilon"] for row in found["adversarial"])),
        "attacks": [
            name for name in dict.fromkeys(row["attack"] for row in found["adversarial"]) if name not in OTHERS
        ],
        "adversarial": _adversarial(found["adversarial"], titles),
        "scores": list(OOD_SCORES.values()),
        "against": [kind for kind in AGAINST if any(row["against"] == kind for row in found["ood"])],
        "ood": _ood(found["ood"], titles),
        "checks": found["sanity"][0],
        "far": found["far"][0],
        "question": _question(found["effects"]),
        "unavailable": _unavailable(found["unavailable"]),
    }


def _with_means(row: dict[str, Any]) -> dict[str, Any]:
    """An arm with each family's mean over severities."""
    return {**row, "means": [sum(values) / len(values) for values in row["families"].values()]}


def _adversarial(rows: Table, titles: dict[str, str]) -> Table:
    """For each arm the accuracy under the worst attack, and under noise, of each size; nothing without attacks."""
    found = []
    for arm, title in titles.items():
        by_name = {
            name: [row["accuracy"] for row in rows if row["arm"] == arm and row["attack"] == name]
            for name in ("worst", "noise")
        }
        if by_name["worst"]:
            found.append({"title": title, **by_name})
    return found


def _ood(rows: Table, titles: dict[str, str]) -> Table:
    return [
        {
            "title": title,
            "cells": [
                row
                for kind in AGAINST
                for score in OOD_SCORES
                for row in rows
                if (row["arm"], row["against"], row["score"]) == (arm, kind, score)
            ],
        }
        for arm, title in titles.items()
    ]


def _question(effects: Table) -> Table:
    """The difference that the report asks for, on each kind of robustness."""
    return [row for row in effects if row["effect"] == "question"]


def _unavailable(rows: Table) -> Table:
    """What was not measured, each reason once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["why"], []).append(row["what"])
    return [{"what": ", ".join(what), "why": why} for why, what in found.items()]
