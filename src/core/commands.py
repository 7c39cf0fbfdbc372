"""Commands of a package that has several: `python -m src.bench race --seeds 0`."""

import sys
from collections.abc import Callable, Sequence

from src.core.errors import UserError, one_line


def run(package: str, **commands: Callable[[Sequence[str]], None]) -> None:
    """Run the command that the first word names, with the other words."""
    with one_line():
        name, *words = sys.argv[1:] or [""]
        if name not in commands:
            raise UserError(f"{name or 'no command'}: allowed is `python -m {package} <{'|'.join(commands)}>`")
        commands[name](words)
