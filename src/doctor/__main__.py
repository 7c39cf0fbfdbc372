"""What keeps a run from its end on this machine: `python -m src.doctor`.

It looks at versions, device, precision, disk, DVC's cache, git, the network and locks, and changes nothing. It exits
with 1 if there is a fault, and prints a line for each, which says what to do.
"""

import sys
from collections.abc import Callable, Iterable, Iterator

from src.core.errors import UserError, one_line
from src.doctor import machine, network, repository
from src.doctor.finding import Finding
from src.settings.settings import load


def checked(subject: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; an error that a user can correct is a fault."""
    try:
        yield from check()
    except UserError as error:
        yield Finding(subject, str(error), fault=True)


def findings() -> Iterator[Finding]:
    """Everything that is found; what depends on settings only if these are right."""
    yield from checked("versions", machine.versions)
    yield from checked("git", repository.state)
    yield from checked("cache", repository.of_dvc)
    yield from checked("locks", repository.locks)
    try:
        settings = load()
    except UserError as error:
        yield Finding("settings", str(error), fault=True)
        return
    yield from checked("device", lambda: machine.device(settings))
    yield from checked("disk", lambda: machine.disk(settings, repository.link()))
    yield from checked("network", lambda: network.reach(settings))


def main() -> None:
    """Print what is found, as it is found.

    Raises:
        SystemExit: with 1 if there are faults, else with 0.
    """
    faults = 0
    for found in findings():
        print(f"{found.subject:<10} {'fault: ' if found.fault else ''}{found.line}", flush=True)
        faults += found.fault
    print(f"{faults or 'no'} fault{'s' * (faults > 1)}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    with one_line():
        main()
