"""The report page: one self-contained HTML file from the metrics and predictions. For the stage `report`."""

from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src import arms, report_format, report_mistakes, report_robustness, report_settings, report_tables

TEMPLATES = Path(__file__).with_name("templates")  # the page and its styles

Predictions = dict[str, np.ndarray]


def question(compared: dict[str, Any]) -> tuple[str, str]:
    """The adaptations that stand for the fine-tuned legacy and the frozen modern backbone: `full`, `linear`."""
    (cells,) = compared["cells"]
    first, second = (arms.split(cells[name])[1] for name in arms.QUESTION)
    return first, second


def context(
    settings: dict[str, Any],
    compared: dict[str, Any],
    cells: list[dict[str, Any]],
    tuned: dict[str, Any],
    classes: list[str],
    predictions: tuple[Predictions, Predictions],
    raw: np.ndarray,
    pictures: dict[str, bytes],
    robustness: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        settings, compared: `Settings.model_dump()`, and what the stage `compare` found.
        cells: the metrics of the four cells of the 2 x 2 table; those of a cell that was not run are empty.
        tuned: what the stage `tune` found; empty where it was off.
        classes: the names of the K classes.
        predictions: logits (N, K), labels (N,) and index (N,) of the two arms that the question is about.
        raw: the test images (M, H, W, 3) uint8 that `index` points into.
        pictures: PNG files, `reliability` and, where classes differ in size, `by_frequency`.
        robustness: what the stage of that name found; None where it is switched off.
    """
    first, second = predictions
    return {
        "settings": settings,
        "classes": classes,
        "names": arms.called({role: settings[role]["arch"] for role in arms.ROLES}),
        "mistakes": report_mistakes.groups(first["logits"], second["logits"], first["labels"], first["index"], raw),
        "pictures": {name: report_mistakes.data_uri(content) for name, content in pictures.items()},
        "robustness": report_robustness.section(robustness) if robustness else None,
        "rows": report_settings.rows(settings),
        "command": report_settings.command(settings),
    } | tables(compared, cells, tuned, classes)


def tables(
    compared: dict[str, Any], cells: list[dict[str, Any]], tuned: dict[str, Any], classes: list[str]
) -> dict[str, Any]:
    """What of it is the arms' numbers."""
    measured = report_tables.by_arm(cells)
    square = report_tables.cells(compared, measured)
    return {
        "compared": compared,
        "cells": square,
        "complete": len(square) == len(arms.CELLS),
        "effects": report_tables.effects(compared, square),
        "arms": report_tables.all_arms(compared, measured),
        "pairs": report_tables.pairs(compared),
        "searches": report_tables.searches(tuned.get("tune", {}), compared, measured),
        "per_class": report_tables.per_class(square),
        "confusions": report_tables.confusions(square, classes),
        "environments": report_tables.environments(compared, measured),
    }


def render(found: dict[str, Any]) -> str:
    """The page, from what `context` gives; every text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= report_format.FILTERS
    return environment.get_template("report.html").render(found)
