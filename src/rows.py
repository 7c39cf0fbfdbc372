"""An array that is computed row by row, and goes on where it was interrupted. For the stages `embed_*`."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from src import files
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
    rows, seen = _taken_up(growing, place, shape)
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
    with files.replacing(path) as temporary:
        try:
            os.link(growing, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(growing, temporary)


def _taken_up(growing: Path, place: Place, shape: Sequence[int]) -> "tuple[int, hashlib._Hash]":
    """How many rows of the growing file can be trusted, and the hash of their bytes; the file is cut to them."""
    header = files.array_header(shape, "float32")
    about, seen = place.noted(), hashlib.sha256()
    rows = about.get("rows", 0)
    size = len(header) + rows * shape[1] * 4
    if rows and growing.exists() and growing.stat().st_size >= size:
        with growing.open("rb+") as file:
            file.truncate(size)
            whole = file.read(len(header)) == header
            while block := file.read(1 << 20):
                seen.update(block)
        if whole and seen.hexdigest() == about["digest"]:
            print(f"{place.name}: going on after {rows:,} of {shape[0]:,} images", flush=True)
            return rows, seen
        print(f"{growing}: damaged, so it starts from the beginning")
    growing.write_bytes(header)
    return 0, hashlib.sha256()
