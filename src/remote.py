"""One experiment in a clone of its own, on whatever machine an engine chose for it. For the tasks of src.engines.

The functions travel to that machine with the task, so it needs an environment with git and DVC but not this code. They
do by DVC's and git's own commands what DVC's queue does on one machine: the experiment is a commit under refs/exps, and
what its stages made is in the cache.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from src.dvc_queue import environment

CLONES = Path(".dvc") / "tmp" / "exps"  # where DVC's queue has its copies too: on the cache's disk, and never in git


@dataclass(frozen=True)
class Source:
    """What all tasks of a sweep begin with, and where they leave what they made.

    Args:
        url: of the git repository that is cloned, and that experiments are pushed to.
        params: the text of params.yaml as the user has it, which may differ from the commit's.
        author: the user's name and address, which a commit needs, or empty.
        root: the user's repository, where every machine sees it under this path; None if not: then what stages make
            comes from and goes to the DVC remote.
        cache: the DVC cache, where there is a root.
    """

    url: str
    commit: str
    params: str
    author: tuple[str, str]
    root: str | None
    cache: str | None


class _FailedError(Exception):
    """A command ended with an error; what it said is in the log."""


def reference(commit: str, name: str) -> str:
    """Where DVC keeps an experiment of this name that was derived from this commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def run_experiment(source: Source, name: str, overrides: Sequence[str], threads: int) -> tuple[bool, str]:
    """Run an experiment and bring it back.

    Returns:
        Whether it was brought back, and everything that was printed on the way.
    """
    if source.root is not None and not Path(source.root).is_dir():
        return False, f"{source.root} is not there on {socket.gethostname()}; without a shared disk give a git remote"
    base = Path(source.root) / CLONES if source.root else Path(tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    log = folder / "log"
    log.touch()
    variables = environment(threads) | {"DVC_SITE_CACHE_DIR": str(folder / "site")}  # so that it leaves with the clone
    if source.root is not None:
        variables["SWEEP_ROOT"] = source.root
    try:
        _clone(source, folder / "clone", variables, log)
        _reproduce(source, name, overrides, folder / "clone", variables, log)
        done = True
    except (_FailedError, OSError) as error:
        with log.open("a") as file:
            file.write(f"{error}\n")
        done = False
    finally:
        said = log.read_text(errors="replace")
        shutil.rmtree(folder, ignore_errors=True)
    return done, said


def _clone(source: Source, clone: Path, variables: dict[str, str], log: Path) -> None:
    """The user's repository at the commit, with the user's params.yaml, author, and settings of DVC."""
    _call(["git", "clone", "-q", "--no-checkout", source.url, str(clone)], clone.parent, variables, log)
    _call(["git", "checkout", "-q", "--detach", source.commit], clone, variables, log)
    for key, value in zip(("user.name", "user.email"), source.author, strict=True):
        if value:
            _call(["git", "config", key, value], clone, variables, log)
    (clone / "params.yaml").write_text(source.params)
    if source.root is not None and source.cache is not None:
        local = Path(source.root) / ".dvc" / "config.local"
        if local.exists():  # the kind of links, the cache's group
            shutil.copy(local, clone / ".dvc" / "config.local")
        _call(["dvc", "config", "-q", "--local", "cache.dir", source.cache], clone, variables, log)


def _reproduce(
    source: Source, name: str, overrides: Sequence[str], clone: Path, variables: dict[str, str], log: Path
) -> None:
    """The stages that no experiment ran before, then the files to the DVC remote, and at last the commit.

    Whoever sees the commit so finds the files. A commit of this name that is there already came from an attempt that
    was given up too early, and has the same settings.
    """
    pull = [] if source.root else ["--pull"]
    settings = [word for setting in overrides for word in ("-S", setting)]
    _call(["dvc", "exp", "run", *pull, "-n", name, *settings], clone, variables, log)
    if not source.root:
        _call(["dvc", "push", "--run-cache"], clone, variables, log)
    made = reference(source.commit, name)
    _call(["git", "push", "-q", "--force", "origin", f"{made}:{made}"], clone, variables, log)


def _call(command: Sequence[str], folder: Path, variables: dict[str, str], log: Path) -> None:
    """Run a command to its end, or end it with all that it started when the task is cancelled.

    Raises:
        _FailedError: it ended with an error.
    """
    with log.open("a") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        while process.poll() is None:
            time.sleep(0.1)  # not wait(): Ray's cancellation is noticed between two steps of Python, not within one
    except BaseException:
        for started in psutil.Process(process.pid).children(recursive=True):
            started.kill()
        process.kill()
        raise
    if process.returncode != 0:
        raise _FailedError(f"{' '.join(command[:3])} ended with status {process.returncode}")
