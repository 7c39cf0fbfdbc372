"""An array that grows row by row, and goes on where it was interrupted. For the stages `download` and `embed_*`."""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from src import files, intact
from src.errors import UserError
from src.resuming import Place


def write(path: Path, place: Place, shape: Sequence[int], compute: Callable[..., Iterable[np.ndarray]]) -> None:
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


def fill(
    path: Path,
    place: Place,
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
    place: Place,
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
    growing: Path, place: Place, shape: Sequence[int], dtype: str, made_of: Callable[[int], str] | None = None
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
            print(f"{place.name}: going on after {rows:,} of {shape[0]:,} images", flush=True)
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
        return intact.hashed(file, seen)
