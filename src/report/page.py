"""The report page: one self-contained HTML file."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.types import Quote, QuotedString
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.core import design
from src.records.compare import Comparison
from src.records.evaluate import Evaluations
from src.records.robustness import RobustnessResults
from src.records.tune import SearchSummaries
from src.report import format, mistakes, tables
from src.settings.describe import shown
from src.settings.settings import Settings, flat

TEMPLATES = Path(__file__).with_name("templates")  # the page and its styles


@dataclass(frozen=True)
class Results:
    """What other stages left for the page.

    Args:
        cells: the evaluations by cell; those of a cell that was not run are empty.
        tuned: empty where nothing was tuned.
        robustness: None where it was not measured.
        classes: the names of the K classes.
        predictions: `logits` (N, K), `labels` (N,) and `index` (N,) of the two arms that the question is about.
        raw: the test images (M, H, W, 3) uint8 that `index` points into.
        figures: PNG files, `reliability` and, where classes differ in size, `by_frequency`.
    """

    comparison: Comparison
    cells: Mapping[str, Evaluations]
    tuned: SearchSummaries
    robustness: RobustnessResults | None
    classes: list[str]
    predictions: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
    raw: np.ndarray
    figures: Mapping[str, bytes]


def question(comparison: Comparison) -> tuple[str, str]:
    """The adaptations that stand for the fine-tuned legacy and the frozen modern backbone: `full`, `linear`."""
    first, second = (design.split(comparison.cells[cell])[1] for cell in design.QUESTION)
    return first, second


def context(settings: Settings, results: Results) -> dict[str, Any]:
    """The variables of the template."""
    first, second = results.predictions
    values = settings.model_dump()
    archs = {role: values[role]["arch"] for role in design.ROLES}
    return {
        "settings": values,
        "classes": results.classes,
        "names": design.display_names(archs),
        "mistakes": mistakes.groups(first["logits"], second["logits"], first["labels"], first["index"], results.raw),
        "figures": {name: mistakes.data_uri(content) for name, content in results.figures.items()},
        "robustness": tables.robustness_section(results.robustness) if results.robustness else None,
        "rows": setting_rows(values),
        "command": command(values),
    } | numbers(results)


def numbers(results: Results) -> dict[str, Any]:
    """The variables of the template that hold the arms' numbers."""
    comparison, evaluations = results.comparison, tables.by_arm(results.cells)
    cells = tables.cells(comparison, evaluations)
    return {
        "comparison": comparison,
        "cells": cells,
        "complete": len(cells) == len(design.CELLS),
        "effects": tables.effects(comparison),
        "arms": tables.all_arms(comparison, evaluations),
        "pairs": tables.pairs(comparison),
        "searches": tables.searches(results.tuned, comparison, evaluations),
        "per_class": tables.per_class(cells),
        "confusions": tables.confusions(cells, results.classes),
        "environments": tables.environments(comparison, evaluations),
    }


def render(variables: Mapping[str, Any]) -> str:
    """The page, from what `context` returns; every text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= format.FILTERS
    return environment.get_template("report.html").render(variables)


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
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{_override(item)}' for name, item in value.items())}}}"
    return _quoted(value) if isinstance(value, str) else shown(value)


def _quoted(text: str) -> str:
    """A string that Hydra gives back unchanged; in quotes unless it is a plain word."""
    if re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in VALUES:
        return text
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # ${ would name another setting
    return QuotedString(text, Quote.double).with_quotes()
