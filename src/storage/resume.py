"""Resuming an interrupted stage: the saved state of a stage, and .npy files that grow row by row.

State is kept in `data/resume/<stage>-<key>` of the user's repository, which git and DVC ignore. The key is a hash of
all that decides the result, so that no experiment resumes from the state of another; a lock keeps two processes with
the same key apart. The folder is deleted when the stage has succeeded.
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

from filelock import FileLock, Timeout

from src.core.errors import UserError
from src.storage import files, paths

if TYPE_CHECKING:
    from torch import Tensor


SAVE_EVERY = float(os.environ.get("RESUME_EVERY", 30))  # seconds


@dataclass
class StateFile:
    """Where one part of a stage saves its state; `folder=None` disables saving.

    Args:
        saved: the time of the last save, by `time.monotonic`.
        asked: the signals received so far, a list that all parts of a stage share.
    """

    folder: Path | None = None
    name: str = "state"
    saved: float = field(default_factory=time.monotonic)
    asked: list[int] = field(default_factory=list)

    def part(self, name: str) -> "StateFile":
        """The file of another part of the stage."""
        return StateFile(self.folder, name, asked=self.asked)

    def within(self, name: str) -> "StateFile":
        """The files of a piece of the stage whose parts are called as those of other pieces: a folder of its own."""
        if self.folder is None:
            return self
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return StateFile(folder, asked=self.asked)

    @property
    def path(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.name}.safetensors"

    def due(self) -> bool:
        """Whether it is time to save: some seconds after the last save, or at once after a signal."""
        return self.folder is not None and (bool(self.asked) or time.monotonic() - self.saved >= SAVE_EVERY)

    def save(self, tensors: "Mapping[str, Tensor]", about: Mapping[str, Any]) -> None:
        """Replace the saved state. If the disk is full, a line says so, and the stage goes on."""
        try:
            files.write_tensors(self.path, dict(tensors), dict(about))
        except UserError as error:
            print(f"the state is not saved: {error}")
        self.saved = time.monotonic()

    def load(self) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """The tensors and `about` of the last save; both empty if there is none, or it is damaged."""
        if self.folder is None or not self.path.exists():
            return {}, {}
        try:
            return files.read_tensors(self.path)
        except UserError:
            print(f"{self.path}: damaged, so this stage starts from the beginning")
            return {}, {}

    def note(self, about: Mapping[str, Any]) -> None:
        """Replace the JSON file `<name>.json`, such as the position in a file that grows."""
        assert self.folder is not None
        files.write_json(self.folder / f"{self.name}.json", about)
        self.saved = time.monotonic()

    def noted(self) -> dict[str, Any]:
        """The content of `<name>.json`; empty if there is none."""
        assert self.folder is not None
        path = self.folder / f"{self.name}.json"
        return files.read_json(path) if path.exists() else {}

    def leave_if_asked(self, where: str) -> None:
        """Stop if a signal was received.

        Raises:
            UserError: it names the signal and `where` the work stopped.
        """
        if self.asked:
            name = signal.Signals(self.asked[0]).name
            raise UserError(f"stopped by {name} {where}; the same command goes on from here")


def root() -> Path:
    """The folder that holds the state of all stages."""
    return paths.from_root(paths.DATA / "resume")


@contextmanager
def saved_state(name: str | None) -> Iterator[StateFile]:
    """The state of a stage, locked during the block and deleted if the block succeeds.

    If another process holds the lock, nothing is saved.

    Args:
        name: the name of the folder, `<stage>-<key>`; None disables saving.
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
        print(f"{folder}: another process computes the same, so this one saves no state")
        yield StateFile()


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP in a list instead of ending the process; a second one of a kind ends it.

    SIGHUP, of a terminal that is closed, stays ignored under `nohup`.
    """
    asked: list[int] = []

    def record(number: int, _: Any) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])
        print("stopping after this batch; once more to stop at once", flush=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, record) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fill_rows(
    path: Path,
    state_file: StateFile,
    shape: Sequence[int],
    compute: Callable[[Path, int, int], Iterable[int]],
    made_of: Callable[[int], str],
) -> None:
    """Write a .npy file of uint8 whose rows `compute` itself writes into the file, such as from several processes.

    Args:
        state_file: the array grows beside it, and stays there until the stage has succeeded.
        compute: called with a file, the offset of its first row in bytes, and the number of rows that are there. It
            writes the other rows in order, and yields how many it added after each piece.
        made_of: returns a text that identifies the sources of the first n rows; if it changed, they are not kept.

    Raises:
        UserError: a signal was received, the disk is full, or `compute` raised it; the rows so far are kept.
    """
    if state_file.folder is None:
        header = files.array_header(shape, "uint8")
        with files.replacing(path) as temporary:
            temporary.write_bytes(header)
            sum(compute(temporary, len(header), 0))
        return
    growing = state_file.folder / f"{state_file.name}.npy"
    try:
        _grow(growing, state_file, shape, compute, made_of)
    except OSError as error:
        raise UserError(f"{growing} could not be written: {error.strerror or error}") from error
    _publish(growing, path)


def _grow(
    growing: Path,
    state_file: StateFile,
    shape: Sequence[int],
    compute: Callable[[Path, int, int], Iterable[int]],
    made_of: Callable[[int], str],
) -> None:
    """Add the missing rows to the growing file."""
    rows, hasher = _resume(growing, state_file, shape, made_of)
    with growing.open("rb") as file:
        offset = len(files.array_header(shape, "uint8"))
        file.seek(0, os.SEEK_END)

        def note() -> None:
            os.fsync(file.fileno())
            state_file.note({"rows": rows, "digest": hasher.hexdigest(), "made_of": made_of(rows)})

        try:
            for added in compute(growing, offset, rows):
                hasher.update(file.read(added * math.prod(shape[1:])))
                rows += added
                if state_file.due():
                    note()
                state_file.leave_if_asked(f"after {rows:,} of {shape[0]:,} images")
        except UserError:
            note()
            raise


def _publish(growing: Path, path: Path) -> None:
    """Give the finished file its final path; it stays beside the state until the stage has succeeded."""
    with files.replacing(path) as temporary:
        try:
            os.link(growing, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(growing, temporary)


def _resume(
    growing: Path, state_file: StateFile, shape: Sequence[int], made_of: Callable[[int], str]
) -> "tuple[int, hashlib._Hash]":
    """Cut the growing file to the rows that were noted and are undamaged: their number, and the hash of their bytes."""
    header = files.array_header(shape, "uint8")
    about, hasher = state_file.noted(), hashlib.sha256()
    rows = about.get("rows", 0)
    size = len(header) + rows * math.prod(shape[1:])
    if rows and growing.exists() and growing.stat().st_size >= size:
        if made_of(rows) != about.get("made_of"):
            print(f"{state_file.name}: other images than before, so it starts from the beginning")
        elif _cut(growing, header, size, hasher) == about["digest"]:
            print(f"{state_file.name}: resumed after {rows:,} of {shape[0]:,} images", flush=True)
            return rows, hasher
        else:
            print(f"{growing}: damaged, so it starts from the beginning")
    growing.write_bytes(header)
    return 0, hashlib.sha256()


def _cut(growing: Path, header: bytes, size: int, hasher: "hashlib._Hash") -> str:
    """Cut a file to `size` bytes, replace its header, as the number of rows may have changed, and hash its rows."""
    with growing.open("rb+") as file:
        file.truncate(size)
        file.write(header)
        return files.hashed(file, hasher)
