"""Errors that a user can correct. They end a command with one line and exit status 1, without a traceback."""

import difflib
import errno
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

# The disk is full, over its quota or read-only, or the file may not be written.
FULL = {errno.ENOSPC, errno.EDQUOT}
DISK = {*FULL, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


# What PyTorch, oneDNN, cuDNN, cuBLAS and drivers of CUDA and MPS say of too little memory, mostly in a RuntimeError.
LACK_OF_MEMORY = re.compile(
    "out of memory|can't allocate memory|not enough memory|cannot allocate memory|bad_alloc|ALLOC_FAILED"
    "|could not create a (primitive|memory)",
    re.IGNORECASE,
)


class UserError(Exception):
    """A wrong setting, file or network. The message is one line that says what to do."""


class DivergedError(UserError):
    """The loss of a training is no longer a number."""


def did_you_mean(name: str, known: Iterable[str], count: int = 1) -> str:
    """`did you mean cat? `, the beginning of a message about an unknown name; empty if no known name looks like it.

    Args:
        count: the most names to suggest.
    """
    similar = difflib.get_close_matches(name, list(known), n=count)
    return f"did you mean {' or '.join(similar)}? " if similar else ""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, the system or Python had too little memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or bool(isinstance(error, RuntimeError) and LACK_OF_MEMORY.search(str(error)))


@contextmanager
def one_line() -> Iterator[None]:
    """End the program with one line and exit status 1 if the block raises an error that a user can correct."""
    try:
        yield
    except UserError as error:
        line = f"error: {error}{_about_room(error.__cause__)}"
        _end(line.replace("\n", "\\n"))  # a file may be called so
    except (OSError, MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            _end("error: out of memory; try a smaller image_size or finetune.batch_size, or end other programs")
        if not isinstance(error, OSError) or error.errno not in DISK:
            raise
        _end(f"error: {error.filename or 'a file'} could not be written: {error.strerror}{_about_room(error)}")
    except sqlite3.OperationalError as error:  # DVC caches the hashes of files in a database
        _end(f"error: DVC's database could not be written: {error}")
    except KeyboardInterrupt:
        _end("stopped; the same command starts this stage again")


def _about_room(error: BaseException | None) -> str:
    full = isinstance(error, OSError) and error.errno in FULL
    return "; `make doctor` compares the room with what a run needs" if full else ""


def _end(line: str) -> NoReturn:
    sys.stdout.flush()  # otherwise earlier output would come after the line in a file that both streams go to
    sys.exit(line)
