"""Where an interrupted stage goes on. For `download` (of a folder), `tune`, `finetune_*`, `embed_*`.

State lies in `data/resume/<stage>-<key>` of the repository that the user is in, which git and DVC leave alone. The key
stands for everything that decides a result, so that no experiment takes up what another one left; a lock keeps apart
two that are the same. State goes when its stage has ended well.
"""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from src import files, intact
from src.errors import UserError
from src.params import Settings

if TYPE_CHECKING:
    from torch import Tensor

EVERY = float(os.environ.get("RESUME_EVERY", 30))  # seconds between two points from which to go on


@dataclass
class Place:
    """A folder of state, of which one file is this one's; none where nothing is to be saved."""

    folder: Path | None = None
    name: str = "state"
    saved: float = field(default_factory=time.monotonic)
    asked: list[int] = field(default_factory=list)  # the signals that came, of all places of a stage

    def part(self, name: str) -> "Place":
        """The place of one part of the stage's work."""
        return Place(self.folder, name, asked=self.asked)

    @property
    def path(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.name}.safetensors"

    def due(self) -> bool:
        """Whether to save now."""
        return self.folder is not None and (bool(self.asked) or time.monotonic() - self.saved >= EVERY)

    def save(self, tensors: "Mapping[str, Tensor]", about: Mapping[str, Any]) -> None:
        """Replace what is saved. A disk that is full costs the chance to go on, and not the work itself."""
        try:
            files.write_tensors(self.path, dict(tensors), dict(about))
        except UserError as error:
            print(f"nothing saved to go on from: {error}")
        self.saved = time.monotonic()

    def load(self) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """What was saved, if it is whole."""
        if self.folder is None or not self.path.exists():
            return {}, {}
        try:
            return files.read_tensors(self.path)
        except UserError:
            print(f"{self.path}: damaged, so this stage starts from the beginning")
            return {}, {}

    def note(self, about: Mapping[str, Any]) -> None:
        """Replace what is known of a file that grows beside."""
        assert self.folder is not None
        files.write_json(self.folder / f"{self.name}.json", about)
        self.saved = time.monotonic()

    def noted(self) -> dict[str, Any]:
        """What was noted, or nothing."""
        assert self.folder is not None
        path = self.folder / f"{self.name}.json"
        return files.read_json(path) if path.exists() else {}

    def leave_if_asked(self, where: str) -> None:
        """Stop here if a signal came.

        Raises:
            UserError: one did.
        """
        if self.asked:
            name = signal.Signals(self.asked[0]).name
            raise UserError(f"stopped by {name} {where}; the same command goes on from here")


def root() -> Path:
    """The folder of all stages' state."""
    return files.from_root(files.DATA / "resume")


def key(stage: str, settings: Settings, machine: Any, apart: Collection[str] = ()) -> str:
    """16 hexadecimal digits for all that decides a stage's result: dvc.yaml lists it, and the machine adds to it.

    `apart` names dependencies that the stage itself compares with what it goes on from.
    """
    entry = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    found = hashlib.sha256(json.dumps(machine, sort_keys=True).encode())
    values = settings.model_dump(mode="json")
    chosen = {name: reduce(lambda part, word: part[word], name.split("."), values) for name in entry["params"]}
    found.update(json.dumps(chosen, sort_keys=True).encode())
    for name in sorted(set(entry["deps"]) - {str(path) for path in apart}):
        for path in sorted(Path(name).rglob("*")) or [Path(name)]:
            if path.is_file():
                found.update(f"{path} {intact.sha256(path)}".encode())
    return found.hexdigest()[:16]


@contextmanager
def place(stage: str, settings: Settings, machine: Mapping[str, Any], apart: Collection[str] = ()) -> Iterator[Place]:
    """The place of a stage's state, this process's alone until the block ends, and gone when it ends well.

    Several processes save nothing: each has running statistics of its own.

    Args:
        machine: what a result depends on besides, such as `runtime.machine` of the stage's accelerator.
        apart: see `key`.
    """
    if not settings.resume or machine.get("processes", 1) > 1:
        yield Place()
        return
    folder = root() / f"{stage}-{key(stage, settings, machine, apart)}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0), signals() as asked:
            yield Place(folder, asked=asked)
            shutil.rmtree(folder)
    except Timeout:
        print(f"{folder}: the same is being computed by another process, so this one saves nothing to go on from")
        yield Place()


def end(stage: str, settings: Settings, machine: Mapping[str, Any]) -> Place:
    """Where the end of a training stays, for one of more epochs to begin there; nowhere unless that was asked for."""
    if not settings.finetune.extendable or machine["processes"] > 1:
        return Place()
    whatever = settings.finetune.model_copy(update={"epochs": 1})
    return Place(root() / f"end-{stage}-{key(stage, settings.model_copy(update={'finetune': whatever}), machine)}")


@contextmanager
def signals() -> Iterator[list[int]]:
    """The signals that asked to stop meanwhile. The first waits for a good moment, the second does not."""
    asked: list[int] = []

    def note(number: int, _: Any) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])
        print("stopping after this batch; once more to stop at once", flush=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
