"""The one exception that a user can cause. Every module raises it; `stages.run` prints it as one line."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A setting, file or network that a person has to change; the message is one line that says what to do."""


class DivergedError(UserError):
    """A training whose loss is no longer a number. `tune` goes on with the next trial."""


def did_you_mean(name: str, known: Iterable[str], count: int = 1) -> str:
    """What a line about an unknown name begins with: `did you mean cat? `, or nothing where none looks like it."""
    near = difflib.get_close_matches(name, list(known), n=count)
    return f"did you mean {' or '.join(near)}? " if near else ""
