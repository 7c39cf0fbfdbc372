"""What a second run of the same commit gave, beside the first: artefacts, numbers and machines. For `stages.verify`."""

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from src import files

PIPELINES = (Path("data"), Path())  # where a dvc.yaml lies
# What a run takes differs from run to run; the page tells of it.
TIMES = {"seconds", "train_seconds", "images_per_second", "train_images_per_second", "peak_memory"}
TIMED = {str(files.REPORT)}


@dataclass(frozen=True)
class Difference:
    """An artefact of a stage, or a number of its metrics, that is not as it was; `cause` where all it read was."""

    stage: str
    path: str
    cause: bool

    def __str__(self) -> str:
        return f"{self.path} ({self.stage})" + (": first cause" if self.cause else ", which read what differs")


def locked(root: Path) -> dict[str, Any]:
    """Every stage of a repository's lock files: name -> deps and outs with their hashes, paths from the root."""
    found: dict[str, Any] = {}
    for folder in PIPELINES:
        path = root / folder / "dvc.lock"
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"] if path.exists() else {}
        for name, stage in stages.items():
            found[name] = {
                part: {str(folder / item["path"]): item.get("md5") for item in stage.get(part, [])}
                for part in ("deps", "outs")
            }
    return found


def order(root: Path) -> list[str]:
    """The stages of a repository, each after those whose outs it reads."""
    stages = locked(root)
    reads = {
        name: {other for other in stages if any(_within(path, stages[other]["outs"]) for path in stage["deps"])}
        for name, stage in stages.items()
    }
    return list(TopologicalSorter(reads).static_order())


def _within(path: str, outs: Container[str]) -> bool:
    """Whether a path is one of the outs, or lies in one."""
    return any(str(parent) in outs for parent in (Path(path), *Path(path).parents))


def differences(first: Path, second: Path) -> Iterator[Difference]:
    """Everything in which two repositories differ that ran the same pipeline, causes before what follows from them."""
    before, after = locked(first), locked(second)
    found: set[str] = set()
    for name in order(first):
        cause = not any(_within(path, found) for path in before[name]["deps"])
        for path, digest in before[name]["outs"].items():
            if path in TIMED or digest == after[name]["outs"].get(path):
                continue
            if Path(path).parent == files.METRICS and numbers(first / path) == numbers(second / path):
                continue
            found.add(path)
            yield Difference(name, path, cause)


def numbers(path: Path) -> Any:
    """A metrics file without what a run takes and on which machine, and without sentences, which tell of seconds."""
    return _without_times(json.loads(path.read_text(encoding="utf-8")))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name not in TIMES | {"environment"}}
    if isinstance(value, list):
        return [_without_times(item) for item in value if not isinstance(item, str)]
    return value


def machines(first: Path, second: Path) -> Iterator[str]:
    """In what the machines and versions differ that two repositories' metrics record, one line each."""
    seen = set()
    for path in sorted((first / files.METRICS).glob("*.json")):
        other = second / files.METRICS / path.name
        if not other.exists():
            continue
        for before, after in zip(_environments(path), _environments(other), strict=False):
            for name in sorted((before.keys() | after.keys()) - {"commit"}):
                line = f"{name}: {before.get(name)} recorded, {after.get(name)} here"
                if before.get(name) != after.get(name) and line not in seen:
                    seen.add(line)
                    yield line


def _environments(path: Path) -> list[Mapping[str, Any]]:
    """Every environment in a metrics file, in its order."""
    found: list[Mapping[str, Any]] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(value.get("environment", []))
            for item in value.values():
                look(item)

    look(json.loads(path.read_text(encoding="utf-8")))
    return found
