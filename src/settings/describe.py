"""Every setting with its type, range, default and meaning, as text and as docs/settings.md."""

import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from src.settings.protocols import PROTOCOLS, TABLE
from src.settings.settings import Settings

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
NAMES = {"integer": "int", "number": "float", "boolean": "true | false", "string": "text", "null": "null"}
INTRODUCTION = """# Settings

After this page you can change any setting. `python -m src.settings --markdown` prints it.
[params.yaml](../params.yaml) holds the values, and `dvc exp run -S finetune.lr=0.0003` changes one for an experiment.
"""

PROTOCOL = """
## The three protocols

What `protocol` sets where params.yaml says null. `report` is what drew the report's figures, `report_text` what its
text says. The text gives no value where *assumed* stands; there it is the figures', or a default. Under both, every
other setting of `prepare`, `finetune`, `tune` and `frozen` has its default, and the classes are the first K.

| setting | fair | report | report_text |
|---|---|---|---|
"""


class Row(NamedTuple):
    """A setting by its dotted name, with its type and range, its default as YAML, and its meaning."""

    name: str
    kind: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """Every setting, in the order of params.yaml."""
    for _, _, settings in sections():
        yield from settings


def sections() -> Iterator[tuple[str, str, list[Row]]]:
    """Name, meaning and settings of every section; the first, without a name, has the settings outside the others."""
    schema = Settings.model_json_schema()
    inner = {name: field["$ref"] for name, field in schema["properties"].items() if "$ref" in field}
    yield "", "", [_row(name, field) for name, field in schema["properties"].items() if name not in inner]
    for section, reference in inner.items():
        definition = schema["$defs"][reference.rsplit("/", 1)[-1]]
        settings = [_row(f"{section}.{name}", field) for name, field in definition["properties"].items()]
        yield section, definition["description"], settings


def shown(value: Any) -> str:
    """A value as YAML has it in a line: `null`, `true`, `[full, head]`."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
        .removesuffix("\n...\n")
        .strip()
    )


def _row(name: str, field: dict[str, Any]) -> Row:
    kind, default = described(field), shown(field.get("default"))
    if name in TABLE:  # null, which the protocol fills
        kind, default = kind.removesuffix(", or null") + ", or null", "null"
    return Row(name, kind, default, field["description"])


def described(field: dict[str, Any]) -> str:
    """A type and its range from a JSON schema: `int >= 1, <= 10000`, `adam | sgd`, `float > 0, < 1, or null`."""
    if choices := field.get("anyOf"):
        return ", or ".join(described(choice) for choice in choices)
    if choices := field.get("enum") or ([field["const"]] if "const" in field else []):
        return " | ".join(choices)
    if field["type"] == "array":
        return f"list of {described(field['items'])}{', not empty' if field.get('minItems') else ''}"
    if field["type"] == "object":
        return f"{{name: {described(field['additionalProperties'])}}}"
    bounds = [f"{sign} {field[name]:.15g}" for name, sign in BOUNDS.items() if name in field]
    return " ".join([NAMES[field["type"]], ", ".join(bounds)]).strip()


def text(width: int) -> str:
    """All settings, in lines of at most `width` characters."""
    lines = []
    for name, kind, default, meaning in rows():
        lines.append(f"{name} = {default}")
        for part in (kind, meaning):
            lines += textwrap.wrap(part, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown() -> str:
    """All settings, in one table for each section."""
    parts = [INTRODUCTION]
    for name, about, settings in sections():
        if name:
            parts.append(f"\n## {name}\n\n{about}\n")
        parts.append("\n| setting | type and range | default | meaning |\n|---|---|---|---|\n")
        for row in settings:
            kind, meaning = row.kind.replace("|", r"\|"), re.sub(r"([|<*_\[])", r"\\\1", row.meaning)
            parts.append(f"| `{row.name}` | `{kind}` | `{row.default}` | {meaning} |\n")
    return "".join([*parts, PROTOCOL, *_protocol_rows()])


def _protocol_rows() -> Iterator[str]:
    """The table of the protocols, one row for each setting that they decide."""
    for name, choice in TABLE.items():
        values = [f"`{shown(getattr(choice, protocol))}`" for protocol in PROTOCOLS]
        values[-1] += " (assumed)" if choice.assumed else ""
        yield f"| `{name}` | {' | '.join(values)} |\n"


def show(page: str | None = None) -> None:
    """Print a page; without one, all settings in the width of the terminal."""
    try:
        print(page or text(shutil.get_terminal_size().columns), flush=True)
    except BrokenPipeError:  # of `| head`, which read enough; Python would try once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
