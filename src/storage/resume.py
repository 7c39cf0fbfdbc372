"""Where an interrupted stage goes on.

State lies in `data/resume/<stage>-<key>` of the repository that the user is in, which git and DVC leave alone. The key
stands for everything that decides a result, so that no experiment takes up what another one left; a lock keeps apart
two that are the same. State goes when its stage has ended well.
"""

import hashlib
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from src.core.errors import UserError
from src.storage import files, paths

if TYPE_CHECKING:
    from torch import Tensor


EVERY = float(os.environ.get("RESUME_EVERY", 30))  # seconds between two points from which to go on


@dataclass
class StateFile:
    """A folder of state, of which one file is this one's; none where nothing is to be saved."""

    folder: Path | None = None
    name: str = "state"
    saved: float = field(default_factory=time.monotonic)
    asked: list[int] = field(default_factory=list)  # the signals that came, of all places of a stage

    def part(self, name: str) -> "StateFile":
        """The place of one part of the stage's work."""
        return StateFile(self.folder, name, asked=self.asked)

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
    return paths.from_root(paths.DATA / "resume")


@contextmanager
def saved_state(name: str | None) -> Iterator[StateFile]:
    """The state of a stage, this process's alone until the block ends, and deleted when it ends well.

    Args:
        name: of the folder, which must stand for all that decides the result; None disables saving.
    """
    if name is None:
        yield StateFile()
        return
    folder = root() / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0), signals() as asked:
            yield StateFile(folder, asked=asked)
            shutil.rmtree(folder)
    except Timeout:
        print(f"{folder}: the same is being computed by another process, so this one saves nothing to go on from")
        yield StateFile()


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


def write_rows(
    path: Path, place: StateFile, shape: Sequence[int], compute: Callable[..., Iterable[np.ndarray]]
) -> None:
    """Fill one .npy file of float32 from blocks of rows, as `files.write_array` does.

    Args:
        place: where the array grows, and stays until its stage has ended well.
        compute: blocks of all rows but the first, of which `skip` says how many are there already.

    Raises:
        UserError: someone asked to stop, or the disk is full.
    """
    if place.folder is None:
        files.write_array(path, compute(), shape, "float32")
        return
    growing = place.folder / f"{place.name}.npy"
    rows, seen = _taken_up(growing, place, shape, "float32")
    try:
        with growing.open("rb+") as file:
            file.seek(0, os.SEEK_END)
            for block in compute(skip=rows):
                data = np.ascontiguousarray(block, np.float32).data
                file.write(data)
                seen.update(data)
                rows += len(block)
                if place.due():
                    file.flush()
                    os.fsync(file.fileno())
                    place.note({"rows": rows, "digest": seen.hexdigest()})
                place.leave_if_asked(f"after {rows:,} of {shape[0]:,} images")
    except OSError as error:
        raise UserError(f"{growing} could not be written: {error.strerror or error}") from error
    _hand_over(growing, path)


def fill_rows(
    path: Path,
    place: StateFile,
    shape: Sequence[int],
    compute: Callable[[Path, int, int], Iterable[int]],
    made_of: Callable[[int], str],
) -> None:
    """Fill one .npy file of uint8 whose rows are written by whoever computes them, such as several processes.

    Args:
        place: as for `write`.
        compute: given a file, the bytes before its first row, and how many rows are there already, it writes the others
            and tells, in order, how many more are there.
        made_of: a text for what the first so many rows were made of; rows made of anything else are not taken up.

    Raises:
        UserError: someone asked to stop, the disk is full, or `compute` raised it; the rows before are kept.
    """
    if place.folder is None:
        header = files.array_header(shape, "uint8")
        with files.replacing(path) as temporary:
            temporary.write_bytes(header)
            sum(compute(temporary, len(header), 0))
        return
    growing = place.folder / f"{place.name}.npy"
    try:
        _grow(growing, place, shape, compute, made_of)
    except OSError as error:
        raise UserError(f"{growing} could not be written: {error.strerror or error}") from error
    _hand_over(growing, path)


def _grow(
    growing: Path,
    place: StateFile,
    shape: Sequence[int],
    compute: Callable[[Path, int, int], Iterable[int]],
    made_of: Callable[[int], str],
) -> None:
    rows, seen = _taken_up(growing, place, shape, "uint8", made_of)
    with growing.open("rb") as file:
        start = len(files.array_header(shape, "uint8"))
        file.seek(0, os.SEEK_END)

        def note() -> None:
            os.fsync(file.fileno())
            place.note({"rows": rows, "digest": seen.hexdigest(), "made_of": made_of(rows)})

        try:
            for more in compute(growing, start, rows):
                seen.update(file.read(more * math.prod(shape[1:])))
                rows += more
                if place.due():
                    note()
                place.leave_if_asked(f"after {rows:,} of {shape[0]:,} images")
        except UserError:
            note()
            raise


def _hand_over(growing: Path, path: Path) -> None:
    with files.replacing(path) as temporary:
        try:
            os.link(growing, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(growing, temporary)


def _taken_up(
    growing: Path, place: StateFile, shape: Sequence[int], dtype: str, made_of: Callable[[int], str] | None = None
) -> "tuple[int, hashlib._Hash]":
    """How many rows of the growing file can be trusted, and the hash of their bytes; the file is cut to them."""
    header = files.array_header(shape, dtype)
    about, seen = place.noted(), hashlib.sha256()
    rows = about.get("rows", 0)
    size = len(header) + rows * math.prod(shape[1:]) * np.dtype(dtype).itemsize
    if rows and growing.exists() and growing.stat().st_size >= size:
        if made_of is not None and made_of(rows) != about.get("made_of"):
            print(f"{place.name}: other images than before, so it starts from the beginning")
        elif _cut(growing, header, size, seen) == about["digest"]:
            print(f"{place.name}: resumed after {rows:,} of {shape[0]:,} images", flush=True)
            return rows, seen
        else:
            print(f"{growing}: damaged, so it starts from the beginning")
    growing.write_bytes(header)
    return 0, hashlib.sha256()


def _cut(growing: Path, header: bytes, size: int, seen: "hashlib._Hash") -> str:
    """Cut a file to this size and header (the number of rows to come may be another), and hash what follows that."""
    with growing.open("rb+") as file:
        file.truncate(size)
        file.write(header)
        return files.hashed(file, seen)
