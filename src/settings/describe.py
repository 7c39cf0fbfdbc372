"""Every setting with its type, range, default and meaning, as text.

Types, ranges and defaults are those of the models in src.params; meanings are the comments of params.yaml.
"""

import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from src.settings.settings import Settings

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<", "minItems": "of at least"}
NAMES = {"integer": "int", "number": "float", "boolean": "true | false", "string": "text", "null": "null"}


def rows(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, type with its range, default, and meaning of every setting, in the order of the models.

    Args:
        text: params.yaml.
    """
    schema, known = Settings.model_json_schema(), meanings(text)
    for name, field in _flat(schema["properties"], schema["$defs"]):
        yield name, described(field), shown(field.get("default")), known.get(name, "")


def shown(value: Any) -> str:
    """A value as YAML has it in a line: `null`, `true`, `[full, head]`."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("\n...\n").strip()


def _flat(
    fields: dict[str, Any], definitions: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in fields.items():
        if reference := field.get("$ref"):
            section = definitions[reference.rsplit("/", 1)[-1]]
            yield from _flat(section["properties"], definitions, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def described(field: dict[str, Any]) -> str:
    """A type and its range from a JSON schema: `int >= 1, <= 10000`, `adam | sgd`, `float > 0, < 1, or null`."""
    if choices := field.get("anyOf"):
        return ", or ".join(described(choice) for choice in choices)
    if choices := field.get("enum"):
        return " | ".join(choices)
    kind = f"list of {described(field['items'])}" if field["type"] == "array" else NAMES[field["type"]]
    bounds = [f"{sign} {field[name]:.15g}" for name, sign in BOUNDS.items() if name in field]
    return " ".join([kind, ", ".join(bounds)]).strip()


def meanings(text: str) -> dict[str, str]:
    """The comment behind every setting of params.yaml, by the setting's dotted name."""
    found, section = {}, ""
    for indent, name, value, comment in re.findall(r"^( *)(\w+):(.*?)(?:# (.*))?$", text, re.M):
        if not indent:
            section = "" if value.strip() else f"{name}."
        found[(section if indent else "") + name] = comment or ""
    return found


def text(width: int) -> str:
    """All of them, in lines of so many characters."""
    lines = []
    for name, kind, default, meaning in rows(Path("params.yaml").read_text(encoding="utf-8")):
        lines.append(f"{name} = {default}")
        for part in filter(None, (kind, meaning)):
            lines += textwrap.wrap(part, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def show() -> None:
    """Print them in the width of the terminal."""
    try:
        print(text(shutil.get_terminal_size().columns), flush=True)
    except BrokenPipeError:  # of `| head`, which read enough; Python would try once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
