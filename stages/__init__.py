"""One module per stage of dvc.yaml, named as the stage is: reads the settings, loads, calls src, saves."""

import errno
import sqlite3
import sys
from collections.abc import Callable

from src.errors import UserError
from src.params import Settings, load

# What a disk says that is full, has a limit, or may not be written.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def run(main: Callable[[Settings], None]) -> None:
    """Run one stage; what a user can mend ends in one line and exit status 1, without a traceback."""
    try:
        main(load())
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in DISK:
            raise
        sys.exit(f"error: {error.filename or 'a file'} could not be written: {error.strerror}")
    except sqlite3.OperationalError as error:  # of DVC, which keeps what it knows of files in a database
        sys.exit(f"error: DVC's database could not be written: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command starts this stage again")
