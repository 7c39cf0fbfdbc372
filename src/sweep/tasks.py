"""Run the experiments of a sweep as tasks of an engine: each in a clone of its own, on the machine the engine chose.

The functions travel to that machine with the task, so it needs git and DVC but not this code. They do with DVC's and
git's own commands what DVC's queue does on one machine: the experiment is a commit under refs/exps, and the outputs of
its stages are in the cache.
"""

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

from src.core.errors import UserError
from src.sweep import queue
from src.sweep.engines import Engine, LostError
from src.sweep.plan import Planned
from src.sweep.queue import POLL, SweepProgress, environment

LOGS = Path(".dvc") / "tmp" / "sweep"
# How often an experiment is tried again. One that failed will mostly fail again, but networks and disks have bad days;
# one that lost its worker did nothing wrong.
AGAIN_FAILED, AGAIN_LOST = 1, 3
LINES = 6  # of a failed experiment's log


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


def source(commit: str, git_remote: str | None) -> Source:
    """What the tasks begin with: this repository and its cache, or a git remote and the default DVC remote.

    Args:
        git_remote: a remote's name or address; None where every machine that runs tasks sees this folder.

    Raises:
        UserError: the git remote lacks the commit, or there is no DVC remote.
    """
    author = (_configured("user.name"), _configured("user.email"))
    params = Path("params.yaml").read_text(encoding="utf-8")
    root = queue.run("git", "rev-parse", "--show-toplevel").strip()
    if git_remote is None:
        cache = Path(root, queue.run("dvc", "cache", "dir").strip())
        return Source(root, commit, params, author, root, str(cache))
    try:
        url = queue.run("git", "remote", "get-url", git_remote).strip()
    except UserError:
        url = git_remote
    if Path(url).exists():
        url = str(Path(url).resolve())
    _require_remotes(url, commit, git_remote)
    return Source(url, commit, params, author, None, None)


def _configured(key: str) -> str:
    """What git knows of the user, or nothing."""
    return queue.run("git", "config", "--default", "", "--get", key).strip()


def _require_remotes(url: str, commit: str, named: str) -> None:
    """Refuse to send tasks to where they would find no commit to begin with, or no place for their files."""
    tips = {line.split()[0] for line in queue.run("git", "ls-remote", "--heads", "--tags", url).splitlines()}
    known = set(queue.run("git", "for-each-ref", "--contains", commit, "--format=%(objectname)").split())
    if commit not in tips and not tips & known:
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
    """Fetch those of these experiments that the git remote has; without one they are in this repository already."""
    if source.root is not None:
        return
    there = queue.run("git", "ls-remote", source.url, reference(source.commit, "*")).split()
    wanted = {reference(source.commit, name) for name in names} & set(there)
    if wanted:
        queue.run("git", "fetch", "-q", source.url, *(f"+{reference}:{reference}" for reference in sorted(wanted)))


class Tasks:
    """The tasks at work, and how often each experiment was tried again."""

    def __init__(self, progress: SweepProgress, engine: Engine, source: Source, threads: int) -> None:
        self.progress, self.engine, self.source, self.threads = progress, engine, source, threads
        self.waiting = deque(progress.waiting.values())
        self.running: dict[str, tuple[Planned, Any]] = {}
        self.again: Counter[tuple[str, str]] = Counter()

    def follow(self, jobs: int) -> None:
        """Run tasks until none is left: one at first, `jobs` from when one has paid for what the rest shares.

        On an interruption the running ones are ended.
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
        words = (self.source, experiment.name, experiment.overrides, self.threads)
        self.running[experiment.name] = experiment, self.engine.submit(experiment.name, run_experiment, *words)
        print(f"{experiment.name} submitted: {' '.join(experiment.overrides)}", flush=True)

    def _end(self, experiment: Planned, task: Any) -> None:
        """Take the result of a task that ended, or try it again, or give it up."""
        name = experiment.name
        try:
            done, said = self.engine.outcome(task)
            kind, limit = "failed", AGAIN_FAILED
        except LostError as error:
            done, said = False, str(error)
            kind, limit = "lost its worker", AGAIN_LOST
        _keep_log(name, said)
        lines = [line for line in said.splitlines() if line.strip()][-LINES:] or ["it said nothing"]
        if done or kind == "lost its worker":  # which may have happened after its commit arrived
            done, why = self._arrived(name)
            lines = why if kind == "failed" else lines
        if done:
            self.progress.finish(name)
        elif self.again[name, kind] < limit:
            self.again[name, kind] += 1
            wrong = [line.strip() for line in lines if line.lstrip().startswith(("error", "ERROR", "fatal"))]
            print(f"{name} {kind} and is tried again: {(wrong or lines[-1:])[0]}", flush=True)
            self.waiting.append(experiment)
        else:
            self.progress.fail(name, lines)

    def _arrived(self, name: str) -> tuple[bool, list[str]]:
        """Whether an experiment that ended well is in this repository, and otherwise why not."""
        try:
            bring(self.source, [name])
        except UserError as error:
            return False, [str(error)]
        return name in queue.finished(self.source.commit), ["it ended well, but its commit did not arrive"]


def _keep_log(name: str, said: str) -> None:
    """Keep what an attempt printed, and remove the clone that a killed one left."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("a", encoding="utf-8") as log:
        log.write(f"{said}\n")
    for left in CLONES.glob(f"{name}-*"):
        shutil.rmtree(left, ignore_errors=True)


CLONES = Path(".dvc") / "tmp" / "exps"  # where DVC's queue has its copies too: on the cache's disk, and never in git


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
