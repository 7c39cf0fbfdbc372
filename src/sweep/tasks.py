"""Run the experiments of a sweep as tasks of an engine, each in a clone of its own on the machine that it was given.

The functions are sent with the task, so that the machine needs git and DVC, but not this code. They use the commands of
DVC and git to do what DVC's queue does on one machine: afterwards the experiment is a commit under refs/exps, and the
outputs of its stages are in the cache.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from src.core import git
from src.core.errors import UserError
from src.sweep import queue
from src.sweep.engines import Engine, LostError
from src.sweep.plan import Planned
from src.sweep.queue import LOG_LINES, NOT_ARRIVED, POLL, SweepProgress, environment

LOGS = Path(".dvc") / "tmp" / "sweep"
CLONES = Path(".dvc") / "tmp" / "exps"  # DVC's queue has its copies there too: on the disk of the cache, ignored by git
# How often an experiment is tried again: after a failure, which will mostly happen again, but may be one of the network
# or a disk; and after its worker was lost, which is not its fault.
RETRIES_FAILED, RETRIES_LOST = 1, 3


@dataclass(frozen=True)
class Source:
    """Where the tasks of a sweep get the code and data, and where they bring their results.

    Args:
        url: of the git repository that is cloned, and to which experiments are pushed.
        params: the text of the user's params.yaml, which may differ from that of the commit.
        author: the user's name and address for commits; empty if git does not know them.
        folder: of the project in the repository; empty where it is the repository.
        root: the path of the user's project if all machines share its disk. If None, outputs are exchanged through the
            DVC remote.
        cache: the path of the DVC cache; None without a root.
    """

    url: str
    commit: str
    params: str
    author: tuple[str, str]
    folder: str
    root: str | None
    cache: str | None


def source(commit: str, git_remote: str | None) -> Source:
    """The source of a sweep: this repository and its cache, or a git remote and the default DVC remote.

    Args:
        git_remote: the name or URL of a remote; None if all machines share this disk.

    Raises:
        UserError: the git remote does not have the commit, or there is no default DVC remote.
    """
    author = (_configured("user.name"), _configured("user.email"))
    params = Path("params.yaml").read_text(encoding="utf-8")
    top, inside = git.place()
    root, folder = str(Path.cwd()), str(inside)
    if git_remote is None:
        cache = Path(root, queue.run("dvc", "cache", "dir").strip())
        return Source(str(top), commit, params, author, folder, root, str(cache))
    try:
        url = queue.run("git", "remote", "get-url", git_remote).strip()
    except UserError:
        url = git_remote
    if Path(url).exists():
        url = str(Path(url).resolve())
    _require_remotes(url, commit, git_remote)
    return Source(url, commit, params, author, folder, None, None)


def _configured(key: str) -> str:
    """A value of git's configuration; empty if it is not set."""
    return queue.run("git", "config", "--default", "", "--get", key).strip()


def _require_remotes(url: str, commit: str, named: str) -> None:
    """Require that the git remote, as the user `named` it, has the commit, and that there is a default DVC remote."""
    tips = {line.split()[0] for line in queue.run("git", "ls-remote", "--heads", "--tags", url).splitlines()}
    descendants = set(queue.run("git", "for-each-ref", "--contains", commit, "--format=%(objectname)").split())
    if commit not in tips and not tips & descendants:
        raise UserError(
            f"{named} does not have the commit {commit[:7]}: git push {named} HEAD"
            " (or, if others pushed since: git fetch)"
        )
    queue.require_committed((".dvc/config",))
    try:
        queue.run("dvc", "config", "--project", "core.remote")
    except UserError:
        raise UserError(
            "results need a default DVC remote that every machine reaches: dvc remote add --default NAME ADDRESS;"
            " commit .dvc/config and push"
        ) from None


def bring(source: Source, names: Iterable[str]) -> None:
    """Fetch the named experiments that the git remote has; on a shared disk they are in this repository already."""
    if source.root is not None:
        return
    remote = queue.run("git", "ls-remote", source.url, reference(source.commit, "*")).split()
    references = {reference(source.commit, name) for name in names} & set(remote)
    if references:
        queue.run("git", "fetch", "-q", source.url, *(f"+{name}:{name}" for name in sorted(references)))


class Tasks:
    """The tasks of a sweep: waiting, running, and how often each experiment was tried again."""

    def __init__(self, progress: SweepProgress, engine: Engine, source: Source, threads: int) -> None:
        self.progress, self.engine, self.source, self.threads = progress, engine, source, threads
        self.waiting = deque(progress.waiting.values())
        self.running: dict[str, tuple[Planned, Any]] = {}
        self.retries: Counter[tuple[str, str]] = Counter()

    def follow(self, jobs: int) -> None:
        """Run tasks until none is left; on an interruption, stop the running ones.

        The first experiment runs alone, because it computes what the others share; then `jobs` run at a time.
        """
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < (jobs if self.progress.any_finished else 1):
                    self._submit(self.waiting.popleft())
                for experiment, task in list(self.running.values()):
                    if self.engine.done(task):
                        del self.running[experiment.name]
                        self._end(experiment, task)
                time.sleep(POLL)
        finally:
            self.engine.stop([task for _, task in self.running.values()])

    def _submit(self, experiment: Planned) -> None:
        arguments = (self.source, experiment.name, experiment.overrides, self.threads)
        self.running[experiment.name] = experiment, self.engine.submit(experiment.name, run_experiment, *arguments)
        print(f"{experiment.name} submitted: {' '.join(experiment.overrides)}", flush=True)

    def _end(self, experiment: Planned, task: Any) -> None:
        """Count an experiment whose task ended as finished, try it again, or give it up."""
        name = experiment.name
        try:
            succeeded, log = self.engine.outcome(task)
            fault, limit = "failed", RETRIES_FAILED
        except LostError as error:
            succeeded, log = False, str(error)
            fault, limit = "lost its worker", RETRIES_LOST
        _clean_up(name, log)
        reason = [line for line in log.splitlines() if line.strip()][-LOG_LINES:] or ["it printed nothing"]
        if succeeded or fault == "lost its worker":  # a worker may be lost after the commit arrived
            succeeded, missing = self._arrived(name)
            reason = missing if fault == "failed" else reason
        if succeeded:
            self.progress.finish(name)
        elif self.retries[name, fault] < limit:
            self.retries[name, fault] += 1
            errors = [line.strip() for line in reason if line.lstrip().startswith(("error", "ERROR", "fatal"))]
            print(f"{name} {fault} and is tried again: {(errors or reason[-1:])[0]}", flush=True)
            self.waiting.append(experiment)
        else:
            self.progress.fail(name, reason)

    def _arrived(self, name: str) -> tuple[bool, list[str]]:
        """Whether an experiment is in this repository, and why not."""
        try:
            bring(self.source, [name])
        except UserError as error:
            return False, [str(error)]
        return name in queue.finished(self.source.commit), [NOT_ARRIVED]


def _clean_up(name: str, output: str) -> None:
    """Save the log of an attempt, and remove the clone that a killed one left."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("a", encoding="utf-8") as log:
        log.write(f"{output}\n")
    for clone in CLONES.glob(f"{name}-*"):
        shutil.rmtree(clone, ignore_errors=True)


class _FailedError(Exception):
    """A command failed; its output is in the log."""


def reference(commit: str, name: str) -> str:
    """The Git reference in which DVC keeps the experiment of this name and base commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def run_experiment(source: Source, name: str, overrides: Sequence[str], threads: int) -> tuple[bool, str]:
    """Run an experiment in a clone, and push its commit and outputs.

    Returns:
        Whether it succeeded, and the output of all its commands.
    """
    if source.root is not None and not Path(source.root).is_dir():
        return False, f"{source.root} is not there on {socket.gethostname()}; without a shared disk give a git remote"
    base = Path(source.root) / CLONES if source.root else Path(tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    log = folder / "log"
    log.touch()
    variables = environment(threads) | {"DVC_SITE_CACHE_DIR": str(folder / "site")}  # deleted with the clone
    if source.root is not None:
        variables["SWEEP_ROOT"] = source.root
    try:
        _clone(source, folder / "clone", variables, log)
        _reproduce(source, name, overrides, folder / "clone" / source.folder, variables, log)
        succeeded = True
    except (_FailedError, OSError) as error:
        with log.open("a") as file:
            file.write(f"{error}\n")
        succeeded = False
    finally:
        output = log.read_text(errors="replace")
        shutil.rmtree(folder, ignore_errors=True)
    return succeeded, output


def _clone(source: Source, clone: Path, variables: dict[str, str], log: Path) -> None:
    """Clone the user's repository at the commit, and copy params.yaml, the author and DVC's local configuration."""
    # The name of the remote is given, as git's settings may have another one.
    _call(["git", "clone", "-q", "-o", "origin", "--no-checkout", source.url, str(clone)], clone.parent, variables, log)
    _call(["git", "checkout", "-q", "--detach", source.commit], clone, variables, log)
    for key, value in zip(("user.name", "user.email"), source.author, strict=True):
        if value:
            _call(["git", "config", key, value], clone, variables, log)
    project = clone / source.folder
    (project / "params.yaml").write_text(source.params, encoding="utf-8")
    if source.root is not None and source.cache is not None:
        local = Path(source.root) / ".dvc" / "config.local"
        if local.exists():  # it may set the type of links, or the group of the cache
            shutil.copy(local, project / ".dvc" / "config.local")
        # A relative path, as DVC writes no letters beyond ASCII in its configuration.
        cache = os.path.relpath(os.path.realpath(source.cache), os.path.realpath(project))
        _call(["dvc", "config", "-q", "--local", "cache.dir", cache], project, variables, log)


def _reproduce(
    source: Source, name: str, overrides: Sequence[str], project: Path, variables: dict[str, str], log: Path
) -> None:
    """Run the stages that no experiment ran before, then push the outputs, and last the commit.

    Data is pushed before the commit, so that every visible experiment is complete. The push overwrites a commit of this
    name: it has the same settings, and came from an attempt that was given up too early.
    """
    pull = [] if source.root else ["--pull"]
    settings = [word for setting in overrides for word in ("-S", setting)]
    _call(["dvc", "exp", "run", *pull, "-n", name, *settings], project, variables, log)
    if not source.root:
        _call(["dvc", "push", "--run-cache"], project, variables, log)
    commit = reference(source.commit, name)
    _call(["git", "push", "-q", "--force", "--no-verify", "origin", f"{commit}:{commit}"], project, variables, log)


def _call(command: Sequence[str], folder: Path, variables: dict[str, str], log: Path) -> None:
    """Run a command; if the task is cancelled meanwhile, kill the command with all processes that it started.

    Raises:
        _FailedError: it failed.
    """
    with log.open("a") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        while process.poll() is None:
            time.sleep(0.1)  # not wait(), in which Ray's cancellation would not be noticed
    except BaseException:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        raise
    if process.returncode != 0:
        raise _FailedError(f"{' '.join(command[:3])} ended with status {process.returncode}")
