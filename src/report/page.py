"""The report page: one self-contained HTML file from the metrics and predictions."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.types import Quote, QuotedString
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.core import design
from src.report import format, mistakes
from src.report import tables as report_tables
from src.settings.describe import shown
from src.settings.settings import Settings, flat

TEMPLATES = Path(__file__).with_name("templates")  # the page and its styles

Predictions = dict[str, np.ndarray]


def question(compared: dict[str, Any]) -> tuple[str, str]:
    """The adaptations that stand for the fine-tuned legacy and the frozen modern backbone: `full`, `linear`."""
    (cells,) = compared["cells"]
    first, second = (design.split(cells[name])[1] for name in design.QUESTION)
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
        "names": design.display_names({role: settings[role]["arch"] for role in design.ROLES}),
        "mistakes": mistakes.groups(first["logits"], second["logits"], first["labels"], first["index"], raw),
        "pictures": {name: mistakes.data_uri(content) for name, content in pictures.items()},
        "robustness": report_tables.robustness_section(robustness) if robustness else None,
        "rows": setting_rows(settings),
        "command": command(settings),
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
        "complete": len(square) == len(design.CELLS),
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
    environment.filters |= format.FILTERS
    return environment.get_template("report.html").render(found)


VALUES = ("null", "true", "false", "inf", "nan")  # Hydra reads these words as other types than text


def setting_rows(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every setting by its dotted name: its value and its default as YAML, and whether they differ.

    Args:
        settings: `Settings.model_dump()`.
    """
    defaults = flat(Settings().model_dump())
    return [
        {"name": name, "value": shown(value), "default": shown(defaults[name]), "differs": value != defaults[name]}
        for name, value in flat(settings).items()
    ]


def command(settings: dict[str, Any]) -> str:
    """What a user types to get these settings from the defaults, quoted for a POSIX shell."""
    defaults = flat(Settings().model_dump())
    changed = [f"{name}={_override(value)}" for name, value in flat(settings).items() if value != defaults[name]]
    if not changed:
        return "dvc repro"
    return shlex.join(["dvc", "exp", "run", *(word for change in changed for word in ("-S", change))])


def _override(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which DVC's -S takes (hydra.cc, override grammar)."""
    if isinstance(value, list):
        return f"[{','.join(_override(item) for item in value)}]"
    return _quoted(value) if isinstance(value, str) else shown(value)


def _quoted(text: str) -> str:
    """A string that Hydra gives back unchanged; in quotes unless it is a plain word."""
    if re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in VALUES:
        return text
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # ${ would name another setting
    return QuotedString(text, Quote.double).with_quotes()
