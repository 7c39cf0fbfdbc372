"""What the tables of the report page hold, from the metrics of all arms and their comparison. For the stage `report`.

`compared` is metrics/compare.json's `compare`, `measured` the metrics of each arm by its name, `resnet.full`.
"""

from typing import Any

import numpy as np

from src import arms

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
    for name in arms.CELLS:
        if standing.get(name) in by_name:
            found[name] = {**_row(by_name[standing[name]], measured), "question": name in arms.QUESTION}
    best = max((cell["accuracy"]["value"] for cell in found.values()), default=None)
    return {name: {**cell, "best": cell["accuracy"]["value"] == best} for name, cell in found.items()}


def _row(arm: dict[str, Any], measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One of `compared`'s arms with its name taken apart and what was measured of it."""
    role, adaptation = arms.split(arm["arm"])
    taken_apart = {"role": role, "adaptation": adaptation, "finetuned": arms.is_finetuned(arm["arm"])}
    return {**arm, **taken_apart, "measured": measured[arm["arm"]]}


def effects(compared: dict[str, Any], cells: dict[str, dict[str, Any]]) -> Table:
    """The difference that the question asks for and, where all four cells were run, what it is made of."""
    rows = [{"name": "lead", **compared["lead"]}]
    if len(cells) == len(arms.CELLS):
        rows += [{"name": name, **found} for name, found in compared.get("effects", {}).items()]
    reach = _reach(rows)
    return [{**row, "reach": reach, "covers_zero": row["low"] <= 0 <= row["high"]} for row in rows]


def pairs(compared: dict[str, Any]) -> Table:
    """Every pair of arms under the names that people read; the question's pair is marked."""
    titles = {arm["arm"]: arm["title"] for arm in compared["arms"]}
    (standing,) = compared["cells"]
    asked = {standing.get(name) for name in arms.QUESTION}
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
    for role in arms.ROLES:
        if role in tuned:
            rows.append({"title": titles[standing[f"{role}.finetuned"]], **tuned[role]})
        if tuned and (probe := measured.get(f"{role}.linear")):
            cost = {name: probe[name] for name in ("c", "val_accuracy", "train_macs", "train_seconds")}
            rows.append({"title": titles[f"{role}.linear"], "configurations": tuned["linear_configurations"], **cost})
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
