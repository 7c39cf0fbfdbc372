"""The experiments of this commit in one table: the settings that differ, and what the cells of the 2 x 2 table reached.

It is read from git alone, as `dvc exp show` is, so that it also shows what is queued, runs or failed.
"""

import argparse
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.errors import UserError
from src.experiments import agree
from src.experiments import read as results
from src.settings import protocols
from src.settings.describe import shown
from src.settings.settings import Settings, flat
from src.storage import paths

ON = {"val": "val_accuracy", "test": "accuracy"}
# Said even where all have the default: the numbers mean nothing without them.
ALWAYS = ("protocol", "dataset", "classes", "seeds", "resnet.arch", "convnext.arch")
WORKSPACE = "workspace"
FILES = "params.yaml", "dvc.lock"


@dataclass(frozen=True)
class Row:
    """An experiment, the commit or the workspace: its settings and, by file, its metrics; `state` if it is not done.

    `images` is the hash of the images that were read, as far as it is known.
    """

    name: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    state: str = ""
    images: str | None = None

    @property
    def titled(self) -> str:
        return f"{self.name} ({self.state})" if self.state else self.name

    @property
    def reached(self) -> tuple[Any, ...]:
        return self.settings, self.question(), *(self.cells(key) for key in ON.values())

    def cells(self, key: str) -> dict[str, float]:
        """One number of each cell's arm, by its name."""
        found: dict[str, float] = {}
        for cell in ("resnet", "resnet_frozen", "convnext_finetuned", "convnext"):
            for role, arms in self.metrics.get(paths.metrics(cell).as_posix(), {}).items():
                found |= {f"{role}.{arm}": numbers[key] for arm, numbers in arms.items() if key in numbers}
        return found

    def question(self) -> str:
        """The question's difference with its interval, in points."""
        difference = self.metrics.get(paths.metrics("compare").as_posix(), {}).get("compare", {}).get("primary")
        if not difference:
            return "-"
        value, low, high = (100 * difference[key] for key in ("value", "low", "high"))
        return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def read() -> list[Row]:
    """The commit and its experiments; the workspace too, where it differs from the commit."""
    from dvc.repo import Repo  # takes a second to import

    with Repo() as repo:
        states = repo.experiments.show()
    rows = []
    for state in states:
        if state.data:
            name = WORKSPACE if state.rev == WORKSPACE else results.HEAD
            rows.append(_row(name, state.data, "" if _own(name) else "holds results of other settings"))
        for each in state.experiments or ():
            (one, *_), executor = each.revs, each.executor
            unfinished = executor.state if executor and executor.state != "success" else ""
            if one.data:
                rows.append(_row(one.name or one.rev[:7], one.data, unfinished))
    first, *others = rows
    return others if any(row.name == results.HEAD and row.reached == first.reached for row in others) else rows


def _own(name: str) -> bool:
    """Whether the results of the workspace or of the commit are those of its settings, as far as there are any."""
    if name == WORKSPACE:
        texts = [path.read_text(encoding="utf-8") for path in map(Path, FILES) if path.exists()]
    else:
        files = results.system(name)
        texts = [files.read_text(each) for each in FILES if files.exists(each)]
    return len(texts) < len(FILES) or results.agree_with_lock(*texts)


def _row(name: str, data: Any, state: str = "") -> Row:
    params = (data.params.get("params.yaml") or {}).get("data") or {}
    # Until it is done, an experiment has the metrics of the commit that it began with, which may be of other settings.
    found = {} if state else data.metrics
    metrics = {path: part["data"] for path, part in found.items() if isinstance(part.get("data"), dict)}
    outputs = {} if state else data.outs
    images = next((each.hash for path, each in outputs.items() if path.endswith(paths.RAW.as_posix())), None)
    return Row(name, agree.used(flat(protocols.filled(params))), metrics, state, images)


def render(rows: Sequence[Row], on: str, width: int) -> str:
    """The table, the settings that all rows share above it, and below it the rows with the same settings.

    Args:
        on: see `ON`.
        width: of the text above and below.
    """
    key = ON[on]
    differing = list(agree.varied({str(number): row.settings for number, row in enumerate(rows)}, agree.HARDWARE))
    arms = list(dict.fromkeys(arm for row in rows for arm in row.cells(key)))
    head = [*differing, *arms, *(["question"] if on == "test" else []), "experiment"]
    table = [head]
    for row in sorted(rows, key=lambda row: [_order(row.settings.get(name)) for name in differing]):
        reached = row.cells(key)
        settings = [shown(row.settings[name]) if name in row.settings else "-" for name in differing]
        numbers = [f"{reached[arm]:.3f}" if arm in reached else "-" for arm in arms]
        table.append([*settings, *numbers, *([row.question()] if on == "test" else []), row.titled])
    what = "accuracy on validation images" if on == "val" else "accuracy on test images; the question, in points"
    same = f"{what}; the same in all: {', '.join(shared(rows, differing))}"
    said = [same, *repeated(rows), *other_images(rows)]
    above, *below = ("\n".join(textwrap.wrap(line, width, break_on_hyphens=False)) for line in said)
    return "\n".join([above, "", *aligned(table), *(["", *below] if below else [])])


def _order(value: Any) -> tuple[bool, bool, float, str]:
    """Numbers in their order, then texts, and at the end what is not there."""
    number = isinstance(value, int | float)
    return value is None, not number, float(value) if number else 0.0, str(value)


def shared(rows: Sequence[Row], differing: Sequence[str]) -> list[str]:
    """The settings that all rows have, as `-S` takes them: a few that are always said, and what is no default."""
    defaults, settings = flat(Settings().model_dump()), rows[0].settings
    return [
        f"{name}={shown(value)}"
        for name, value in settings.items()
        if name not in differing and (name in ALWAYS or value != defaults.get(name))
    ]


def repeated(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each settings that several rows have."""
    by_settings: dict[str, list[str]] = {}
    for row in rows:
        by_settings.setdefault(shown(dict(row.settings)), []).append(row.name)
    for names in by_settings.values():
        if len(names) > 1:
            yield f"the same settings: {', '.join(names)}"


def other_images(rows: Sequence[Row]) -> Iterator[str]:
    """A line for experiments that name the same images in their settings, but read others."""
    by_source: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        source = {name: row.settings.get(name) for name in ("dataset", "folder", "download.max_side")}
        if row.images is not None:
            by_source.setdefault(shown(source), {}).setdefault(row.images, []).append(row.name)
    for groups in by_source.values():
        if len(groups) > 1:
            yield f"not the same images, though the settings are: {'; '.join(map(', '.join, groups.values()))}"


def aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, whose heads are broken at their last dot; the last column begins at the left."""
    head = [name.rpartition(".") for name in table[0]]
    lines = [[first + dot for first, dot, _ in head], [last for *_, last in head], *table[1:]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    for line in lines if any(lines[0]) else lines[1:]:
        parts = [f"{cell:>{width}}" for cell, width in zip(line, widths, strict=False)]
        yield "  ".join([*parts, line[-1]]).rstrip()


def main(words: Sequence[str]) -> None:
    """Print the table in the width of the terminal.

    Raises:
        UserError: an option is wrong, or nothing was run yet.
    """
    parser = argparse.ArgumentParser(prog="python -m src.experiments table", description="All experiments at a glance.")
    parser.add_argument("--on", default="val", metavar="|".join(ON), help="images; validation images by default")
    on = parser.parse_args(words).on
    if on not in ON:
        raise UserError(f"--on {on}: allowed are {', '.join(ON)}")
    rows = read()
    if not any(row.state or row.cells(ON[on]) for row in rows):
        raise UserError("no result yet, neither of this commit nor of an experiment; `dvc repro` makes the first")
    print(render(rows, on, shutil.get_terminal_size().columns))
