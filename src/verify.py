"""Run the last commit's pipeline again, and compare every artefact and number with what was committed.

The second run works in a temporary clone with an empty cache, on the same downloads. Metrics and records hold times,
which differ from run to run, so that they are compared number by number.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import modify_yaml

from src.core import git
from src.core.errors import UserError, one_line
from src.core.records import Environment
from src.storage import files, paths, revisions

PIPELINES = (Path("data"), Path())  # the folders of both dvc.yaml
# What a run takes differs from run to run; the page tells of it.
TIMES = {"seconds", "train_seconds", "images_per_second", "train_images_per_second", "peak_memory"}
TIMES |= {"images_per_second_low", "images_per_second_high", "joules_per_image"}
TIMED = {str(paths.REPORT)}  # shows times
NUMBERS = (paths.METRICS, paths.RECORDS)  # folders of files that are compared number by number


@dataclass(frozen=True)
class Mismatch:
    """An artefact that differs; it is a `cause` if nothing that its stage read differs."""

    stage: str
    path: str
    cause: bool

    def __str__(self) -> str:
        return f"{self.path} ({self.stage})" + (": first cause" if self.cause else ", which read what differs")


def locked(root: Path) -> dict[str, Any]:
    """Every stage of a repository's lock files: name -> deps and outs with their hashes, paths from the root."""
    stages: dict[str, Any] = {}
    for folder in PIPELINES:
        path = root / folder / "dvc.lock"
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"] if path.exists() else {}
        for name, entry in entries.items():
            stages[name] = {
                part: {str(folder / item["path"]): item.get("md5") for item in entry.get(part, [])}
                for part in ("deps", "outs")
            }
    return stages


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


def differences(first: Path, second: Path) -> Iterator[Mismatch]:
    """The artefacts that differ between two runs of the same pipeline, causes before what follows from them.

    Args:
        first: a repository of the first run. Records that it lacks are not compared, nor are stages that its lock
            file still has though the pipeline does not.
    """
    before, after = locked(first), locked(second)
    differing: set[str] = set()
    for name in filter(after.__contains__, order(first)):
        cause = not any(_within(path, differing) for path in before[name]["deps"])
        for path, digest in before[name]["outs"].items():
            if path in TIMED or digest == after[name]["outs"].get(path):
                continue
            if Path(path).parent in NUMBERS and same_numbers(first / path, second / path):
                continue
            differing.add(path)
            yield Mismatch(name, path, cause)


def same_numbers(first: Path, second: Path) -> bool:
    """Whether two files of numbers agree in all but times, machines and sentences; true if there is no first."""
    return not first.exists() or _numbers(first) == _numbers(second)


def _numbers(path: Path) -> Any:
    return _without_times(json.loads(path.read_text(encoding="utf-8")))


def _without_times(value: Any) -> Any:
    """Without sentences too, as the verdict names seconds."""
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name not in TIMES | {"environment"}}
    if isinstance(value, list):
        return [_without_times(item) for item in value if not isinstance(item, str)]
    return value


def machines(first: Path, second: Path) -> Iterator[str]:
    """The differences between the machines and versions in two repositories' records, one line each."""
    seen = set()
    for path in sorted((first / paths.RECORDS).glob("*.json")):
        other = second / paths.RECORDS / path.name
        if not other.exists():
            continue
        for before, after in zip(_environments(path), _environments(other), strict=False):
            for name in sorted((before.keys() | after.keys()) - {"commit"}):
                line = f"{name}: {before.get(name)} recorded, {after.get(name)} here"
                if before.get(name) != after.get(name) and line not in seen:
                    seen.add(line)
                    yield line


def _environments(path: Path) -> list[Environment]:
    """Every environment in a record, in its order."""
    environments: list[Environment] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if "environment" in value:
                environments.append(value["environment"])
            for item in value.values():
                look(item)

    look(json.loads(path.read_text(encoding="utf-8")))
    return environments


def write_records(root: Path) -> list[str]:
    """Write the last commit's records into a clone of it. Returns those that DVC's cache lacks."""
    system, lacking = revisions.system("HEAD"), []
    for path in [path for stage in locked(root).values() for path in stage["outs"]]:
        if Path(path).parent == paths.RECORDS:
            try:
                files.write_text(root / path, revisions.read_bytes(system, "HEAD", path).decode())
            except UserError:
                lacking.append(path)
    return lacking


def shell(*command: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(command, cwd=folder, env=git.environment() | environment)
    if done.returncode:
        raise UserError(f"{' '.join(command)} ended with {done.returncode}; run `dvc repro` and try again")


def start_afresh(clone: Path) -> None:
    """Forget what a clone knows of results, and keep its stages from what interrupted ones saved."""
    for folder in PIPELINES:
        (clone / folder / "dvc.lock").unlink(missing_ok=True)
    with modify_yaml(clone / "params.yaml") as values:  # DVC's own, by which 1e-05 stays a number
        values["resume"] = False


def main() -> None:
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (git.clone(Path(scratch) / name) for name in ("committed", "again"))
        if not locked(first):
            raise UserError("dvc.lock: nothing to compare with in the last commit; run `dvc repro` and commit dvc.lock")
        if lacking := write_records(first):
            print("not compared, as they are not in DVC's cache (`dvc pull` brings them):", *lacking, sep="\n  ")
        start_afresh(second)
        print(f"running the pipeline of the last commit again, in {second}", flush=True)
        shell("dvc", "repro", folder=second, SWEEP_ROOT=str(here))
        mismatches = list(differences(first, second))
        if others := list(machines(first, second)):
            print("recorded on another machine, or with other versions:", *others, sep="\n  ")
        if mismatches:
            print(f"{len(mismatches)} artefacts differ:", *mismatches, sep="\n  ")
            sys.exit(1)
        print(f"{len(locked(first))} stages: every artefact and every number came out as it was committed")


if __name__ == "__main__":
    with one_line():
        main()
