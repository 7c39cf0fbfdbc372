"""One module per stage of dvc.yaml, named as the stage is: reads the settings, loads, calls src, saves."""

import sys
from collections.abc import Callable

from src.errors import UserError
from src.params import Settings, load


def run(main: Callable[[Settings], None]) -> None:
    """Run one stage; what a user can mend ends in one line and exit status 1, without a traceback."""
    try:
        main(load())
    except UserError as error:
        sys.exit(f"error: {error}")
