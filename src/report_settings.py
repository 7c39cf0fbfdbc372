"""The settings of an experiment for the report page, and the command that runs it again. For the stage `report`."""

import re
import shlex
from typing import Any

from src.params import Settings, flat

VALUES = ("null", "true", "false", "inf", "nan")  # words that Hydra takes for something else than text


def rows(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every setting by its dotted name: its value and its default as text, and whether they differ.

    Args:
        settings: `Settings.model_dump()`.
    """
    defaults = flat(Settings().model_dump())
    return [
        {"name": name, "value": _shown(value), "default": _shown(defaults[name]), "differs": value != defaults[name]}
        for name, value in flat(settings).items()
    ]


def command(settings: dict[str, Any]) -> str:
    """What a user types to get these settings from the defaults, quoted for a POSIX shell."""
    defaults = flat(Settings().model_dump())
    changed = [f"{name}={_override(value)}" for name, value in flat(settings).items() if value != defaults[name]]
    if not changed:
        return "dvc repro"
    return shlex.join(["dvc", "exp", "run", *(word for change in changed for word in ("-S", change))])


def _shown(value: Any) -> str:
    """A value as params.yaml has it, strings without quotes."""
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return value if isinstance(value, str) else _override(value)


def _override(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which DVC's -S takes (hydra.cc, override grammar)."""
    if isinstance(value, list):
        return f"[{','.join(_override(item) for item in value)}]"
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _quoted(text: str) -> str:
    """A string that Hydra gives back unchanged; in quotes unless it is a plain word."""
    if re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in VALUES:
        return text
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # ${ would name another setting
    # Backslashes count only before a quote, where the string ends too.
    return '"' + re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text) + '"'
