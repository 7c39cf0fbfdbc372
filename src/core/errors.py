"""Errors that a user can mend, and how a command ends on them: one line, exit status 1, no traceback."""

import difflib
import errno
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

# A disk that is full, has a quota, or may not be written.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


class UserError(Exception):
    """A setting, file or network that a person has to change; the message is one line that says what to do."""


class DivergedError(UserError):
    """A training whose loss is no longer a number."""


def did_you_mean(name: str, known: Iterable[str], count: int = 1) -> str:
    """The beginning of a message about an unknown name: `did you mean cat? `; empty if no known name looks like it."""
    near = difflib.get_close_matches(name, list(known), n=count)
    return f"did you mean {' or '.join(near)}? " if near else ""


@contextmanager
def one_line() -> Iterator[None]:
    """End the program with one line and exit status 1 where the block raises an error that a user can mend."""
    try:
        yield
    except UserError as error:
        _end(f"error: {error}")
    except OSError as error:
        if error.errno not in DISK:
            raise
        _end(f"error: {error.filename or 'a file'} could not be written: {error.strerror}")
    except sqlite3.OperationalError as error:  # DVC keeps what it knows of files in a database
        _end(f"error: DVC's database could not be written: {error}")
    except KeyboardInterrupt:
        _end("stopped; the same command starts this stage again")


def _end(line: str) -> NoReturn:
    sys.stdout.flush()  # otherwise earlier output would follow the line where both streams go into one file
    sys.exit(line)
