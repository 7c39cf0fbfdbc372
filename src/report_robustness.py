"""What the report page's section on robustness shows, from metrics/robustness.json. For the stage `report`."""

from typing import Any

Table = list[dict[str, Any]]

SCORES = {"msp": "softmax probability", "energy": "energy", "knn": "k-NN distance"}
AGAINST = ("near", "far")
OTHERS = ("noise", "pgd_short", "worst")  # rows of no attack of their own


def section(found: dict[str, Any]) -> dict[str, Any]:
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
        "scores": list(SCORES.values()),
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
                for score in SCORES
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
