"""Packages with several commands: `python -m src.bench race --seeds 0`."""

import sys
from collections.abc import Callable, Sequence

from src.core.errors import UserError, one_line


def run(package: str, **commands: Callable[[Sequence[str]], None]) -> None:
    """Call the command named by the first word of the command line with the other words.

    Raises:
        SystemExit: there is no such command, or it raised an error that a user can correct; with one line.
    """
    with one_line():
        name, *words = sys.argv[1:] or [""]
        if name not in commands:
            raise UserError(f"{name or 'no command'}: allowed is `python -m {package} <{'|'.join(commands)}>`")
        commands[name](words)
