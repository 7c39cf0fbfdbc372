"""The report page: one self-contained HTML file."""

import re
import shlex
from collections.abc import Mapping, Sequence
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
from src.report import format, mistakes, robustness, tables
from src.settings import protocols
from src.settings.describe import shown
from src.settings.settings import Settings, flat
from src.storage.raw import StoredImages

TEMPLATES = Path(__file__).with_name("templates")  # the page and its styles


@dataclass(frozen=True)
class Results:
    """What other stages left for the page.

    Args:
        cells: the evaluations by cell; those of a cell that was not run are empty.
        tuned: empty where nothing was tuned.
        robustness: None where it was not measured.
        classes: the names of the K classes.
        predictions: under the first seed, `logits` (N, K), `labels` (N,) and `index` (N,) of the question's two arms.
        raw: the test images (M, H, W, 3) uint8 that `index` points into.
        figures: PNG files, `reliability` and, where there are any, `by_frequency` and `budget`.
        duplicates: one line for each kind of image that is in training and in test.
        tested: how many results on test images git knows, see `tested.count_tested`.
    """

    comparison: Comparison
    cells: Mapping[str, Evaluations]
    tuned: SearchSummaries
    robustness: RobustnessResults | None
    classes: list[str]
    predictions: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
    raw: np.ndarray | StoredImages
    figures: Mapping[str, bytes]
    duplicates: Sequence[str]
    tested: int


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
        "robustness": robustness.section(results.robustness) if results.robustness else None,
        "duplicates": results.duplicates,
        "tested": results.tested,
        "rows": setting_rows(values),
        "protocol": protocol_rows(values["protocol"]),
        "command": command(values),
    } | numbers(results)


def numbers(results: Results) -> dict[str, Any]:
    """The variables of the template that hold the arms' numbers."""
    comparison, evaluations = results.comparison, tables.by_arm(results.comparison, results.cells)
    cells = tables.cells(comparison, evaluations)
    return {
        "comparison": comparison,
        "asked": tables.question(comparison, evaluations),
        "cells": cells,
        "complete": len(cells) == len(design.CELLS),
        "effects": tables.effects(comparison),
        "contrasts": tables.contrasts(comparison),
        "arms": tables.all_arms(comparison, evaluations),
        "pairs": tables.pairs(comparison),
        "searches": tables.searches(results.tuned, comparison, evaluations),
        "per_class": tables.per_class(cells),
        "confusions": tables.confusions(cells, results.classes),
        "environments": tables.environments(comparison, evaluations),
    }


def render(variables: Mapping[str, Any], name: str = "report.html", templates: Path = TEMPLATES) -> str:
    """The page, from what `context` returns; every text in it is escaped.

    Args:
        name, templates: of another page, which can include the styles of this one, and its folder.
    """
    environment = Environment(
        loader=FileSystemLoader([templates, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= format.FILTERS
    return environment.get_template(name).render(variables)


VALUES = ("null", "true", "false", "inf", "nan")  # Hydra reads these words as other types than text


def setting_rows(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every setting by its dotted name: its value and its default as YAML, and whether they differ.

    The default of a setting that the protocol decides is the protocol's value.

    Args:
        settings: `Settings.model_dump()`.
    """
    defaults = _defaults(settings["protocol"])
    return [
        {"name": name, "value": shown(value), "default": shown(defaults[name]), "differs": value != defaults[name]}
        for name, value in flat(settings).items()
    ]


def _defaults(protocol: str) -> dict[str, Any]:
    """Every setting's value under a protocol that nothing else was changed with; the protocol's own default is fair."""
    filled = Settings.model_validate(protocols.filled({"protocol": protocol})).model_dump()
    return flat(filled | {"protocol": Settings().protocol})


def protocol_rows(protocol: str) -> list[dict[str, Any]]:
    """What a protocol decides that is not `fair`, beside what `fair` has, and what of it is assumed."""
    if protocol == "fair":
        return []
    return [
        {
            "name": name,
            "value": shown(getattr(choice, protocol)),
            "fair": "the backbone's published rate" if name == "finetune.lr" else shown(choice.fair),
            "assumed": choice.assumed and protocol == "report_text",
        }
        for name, choice in protocols.TABLE.items()
    ]


def command(settings: dict[str, Any]) -> str:
    """What a user types to get these settings from the defaults, quoted for a POSIX shell.

    It names the protocol and not what follows from it.
    """
    defaults = _defaults(settings["protocol"])
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
