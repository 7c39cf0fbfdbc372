"""What dvc.yaml says of the stage that runs: its name, and the tables that DVC's plots draw of it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from src.storage import files


def pipeline() -> dict[str, Any]:
    """dvc.yaml, parsed; its stages stand in the order in which DVC runs them."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C it takes 8 ms instead of 50
    return yaml.load(Path("dvc.yaml").read_text(encoding="utf-8"), loader)  # noqa: S506 - both are safe


def this_stage() -> str | None:
    """The stage of dvc.yaml whose command started this process."""
    command = " ".join(["python -m", f"stages.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    return next((name for name, stage in pipeline()["stages"].items() if stage["cmd"] == command), None)


def drawn(stage: str) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Every table of a stage that DVC draws, with its two columns."""
    parsed = pipeline()
    outs = [Path(out if isinstance(out, str) else next(iter(out))) for out in parsed["stages"][stage]["outs"]]
    for plot in parsed.get("plots", ()):
        for settings in plot.values():
            for name, column in settings["y"].items():
                if any(Path(name).is_relative_to(out) for out in outs):
                    yield Path(name), (settings["x"], column)


def complete_plots(stage: str | None) -> None:
    """Write the tables of a stage that DVC draws, and that its settings gave nothing for, without rows.

    Otherwise `dvc plots diff` complains of files that are missing.
    """
    for path, columns in drawn(stage) if stage else ():
        if not path.exists():
            files.write_text(path, ("\t" if path.suffix == ".tsv" else ",").join(columns) + "\n")
