"""One module per stage of dvc.yaml, named as the stage is: reads the settings, loads, calls src, saves."""

import errno
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from src.errors import UserError
from src.params import Settings, load

# What a disk says that is full, has a limit, or may not be written.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def run(main: Callable[[Settings], None]) -> None:
    """Run one stage."""
    with one_line():
        main(load())


@contextmanager
def one_line() -> Iterator[None]:
    """What a user can mend ends in one line, the last, and exit status 1, without a traceback."""
    try:
        yield
    except UserError as error:
        _end(f"error: {error}")
    except OSError as error:
        if error.errno not in DISK:
            raise
        _end(f"error: {error.filename or 'a file'} could not be written: {error.strerror}")
    except sqlite3.OperationalError as error:  # of DVC, which keeps what it knows of files in a database
        _end(f"error: DVC's database could not be written: {error}")
    except KeyboardInterrupt:
        _end("stopped; the same command starts this stage again")


def _end(line: str) -> NoReturn:
    sys.stdout.flush()  # else what was printed before would follow, where both go into one file
    sys.exit(line)
