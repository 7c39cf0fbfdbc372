"""Run the experiments of a sweep by DVC's own queue, and report the progress of a sweep.

What DVC 3.67.1 does, as observed, and what this module relies on: a queue worker starts the first `dvc` in PATH, whose
stages start the first `python`; it stops ten seconds after the queue is empty; `dvc queue kill` interrupts the worker
together with the task, and the tasks in the queue then wait for `dvc queue start`; a task whose worker was killed stays
`Running` until it is killed twice, once for its process and once for its record.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from src.core import git
from src.core.errors import UserError
from src.sweep import plan
from src.sweep.plan import Planned

POLL = 1.0  # seconds between looks at Git's references, which cost nothing
# Seconds between two looks at the queue, at first and at most. Each waits 2 s for the answers of the workers.
STATUS_EVERY = (3.0, 60.0)
# Looks in a row at which a task or all workers are missing: a busy worker may answer too late, and a task whose state
# changes may be in neither list.
MAX_MISSES = 3
RETRIES = (1, 2, 4, 8)  # seconds to wait before each new attempt
LOG_LINES = 6  # of a failed experiment's log
_BUSY = ("Unable to acquire lock", "is busy", "rwlock")  # another DVC process is at work in this repository
NOT_ARRIVED = (
    "it succeeded, but its commit did not arrive in this repository; the same command runs it again, and what it "
    "computed is in DVC's cache"
)
LEFT = "it left the queue without a result; somebody removed it, or its worker was killed"
# If a name has several tasks, the last of these states counts: an old task failed, and a new one runs.
_STATES = ("Failed", "Success", "Queued", "Running")
T = TypeVar("T")


@dataclass(frozen=True)
class Status:
    """The state of each task by its name, and the number of workers that answered."""

    tasks: dict[str, str]
    workers: int


class _BusyError(UserError):
    """Another process is at work in this repository, so that a later attempt may succeed."""


def _retried(attempt: Callable[[], T]) -> T:
    """The result of `attempt`, made again and again while another process is at work in this repository.

    Raises:
        UserError: it failed for another reason, or too often.
    """
    for seconds in RETRIES:
        with suppress(_BusyError):
            return attempt()
        time.sleep(seconds)
    return attempt()


def environment(threads: int | None = None) -> dict[str, str]:
    """The variables of commands and workers.

    Args:
        threads: of OpenMP in each worker, if the user did not set their number.
    """
    variables = git.environment()
    if threads is not None:
        variables.setdefault("OMP_NUM_THREADS", str(threads))
    return variables


def run(*command: str, threads: int | None = None) -> str:
    """The output of a command, which is run again while another DVC process holds a lock.

    Raises:
        UserError: it failed, with the first error that it printed.
    """
    return _retried(lambda: _run_once(command, environment(threads)))


def _run_once(command: Sequence[str], variables: Mapping[str, str]) -> str:
    """One attempt of `run`."""
    # Output goes to files: the workers that `dvc queue start` leaves behind would keep a pipe open until they end.
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        status = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err).returncode
        out.seek(0)
        err.seek(0)
        output, errors = out.read(), err.read()
    if status == 0:
        return output
    git.require_owner(errors)
    lines = [line for line in (errors.strip() or output).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("ERROR", "fatal"))] or lines or ["no reason given"]
    line = f"{' '.join(command)} ended with status {status}: {reasons[0]}"
    if any(word in errors + output for word in _BUSY):
        raise _BusyError(f"{line} (`make doctor` says what is locked, and by whom)")
    raise UserError(line)


def head() -> str:
    """The current commit.

    Raises:
        UserError: there is none.
    """
    return run("git", "rev-parse", "--verify", "HEAD").strip()


def require_ready(paths: tuple[str, ...]) -> str:
    """The current commit, which experiments can be derived from: with its history, and the code as it is committed.

    Raises:
        UserError: there is no repository or commit, the clone is shallow, or code differs.
    """
    git.place()
    commit = head()
    require_history()
    require_committed(paths)
    return commit


def require_committed(paths: tuple[str, ...]) -> None:
    """Require that the code is committed, because the names of experiments contain the commit.

    Untracked files are seen whatever git is set to show; of those that git ignores, modules of Python alone are code.

    Raises:
        UserError: it names the first changed or untracked file.
    """
    every = ("--untracked-files=all", "--ignored=traditional", "--no-renames", "-z")
    entries = run("git", "status", "--porcelain", *every, "--", *paths).split("\0")
    changed = [entry for entry in entries if entry and (not entry.startswith("!!") or entry.endswith(".py"))]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{changed[0][3:]}{more} differs from the commit; commit first: an experiment bears its commit's name"
            " (params.yaml may differ: its settings are in the name)"
        )


def require_history() -> None:
    """Require a whole clone: DVC cannot fetch an experiment's commit from the copy that it makes of a shallow one, and
    cannot copy one that lacks objects, as a partial one does.

    Raises:
        UserError: the clone is shallow, or lacks objects.
    """
    if run("git", "rev-parse", "--is-shallow-repository").strip() == "true":
        raise UserError(
            "this clone is shallow, so no experiment could be brought back to it; complete it: git fetch --unshallow "
            "(in CI, check out with the whole history)"
        )
    if git.output("config", "--get-regexp", r"^remote\..*\.promisor$"):
        objects = run("git", "rev-list", "--objects", "--missing=print", "HEAD").splitlines()
        if lacking := sum(line.startswith("?") for line in objects):
            raise UserError(
                f"this clone is partial: it lacks {lacking} objects of its history, without which DVC cannot copy it; "
                "bring them: git fetch --refetch --no-filter"
            )


def require_plain(folder: Path) -> None:
    """Require a path that DVC's queue can handle: it is written in ASCII alone, and taken for a part of an address.

    Raises:
        UserError: it has other characters; it names the first.
    """
    for character in str(folder):
        if not character.isascii() or character in "%#":
            raise UserError(
                f"{character!r} in the path {folder}: DVC's queue cannot work there; move the project, or take "
                "--engine local, after pip install -r requirements-cluster.txt"
            )


def finished(commit: str) -> set[str]:
    """The names of the experiments of this commit that have results: DVC keeps a Git reference to each."""
    prefix = f"refs/exps/{commit[:2]}/{commit[2:]}/"
    return set(run("git", "for-each-ref", "--format=%(refname:lstrip=4)", prefix).split())


def in_queue(call: Callable[[Any], T]) -> T:
    """The result of a call on DVC's queue object, which `dvc queue` makes too; made again if the queue is busy.

    In this process it takes 0.04 s of work, and the command `dvc queue status` 0.9 s.

    Raises:
        UserError: it failed too often.
    """
    from dvc.repo import Repo  # takes a second to import

    def attempt() -> T:
        try:
            with Repo() as repo:
                return call(repo.experiments.celery_queue)
        except Exception as error:  # DVC, Git and Celery have errors of their own for files that a worker is changing
            reason = " ".join(str(error).split()) or type(error).__name__
            raise _BusyError(f"DVC's queue cannot be used: {reason}") from error

    return _retried(attempt)


def status() -> Status:
    """The present state of the queue."""
    return in_queue(lambda queue: Status(task_states(queue.status()), len(queue.worker_status())))


def task_states(tasks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The state of each name in the queue's list of tasks."""
    states: dict[str, str] = {}
    for task in tasks:
        name, state = task["name"], task["status"]
        if state in _STATES and _STATES.index(state) >= _STATES.index(states.get(name, _STATES[0])):
            states[name] = state
    return states


def put(experiment: Planned) -> None:
    """Queue an experiment: by the command, since it takes an experiment's settings as this module has them."""
    settings = [word for setting in experiment.overrides for word in ("-S", setting)]
    run("dvc", "exp", "run", "--queue", "-n", experiment.name, *settings)


def start(workers: int, threads: int | None) -> None:
    """Start workers until so many run: by the command, whose environment they inherit."""
    run("dvc", "queue", "start", "-j", str(workers), threads=threads)


def end_lost(name: str) -> None:
    """End a running task that has no worker: its process, if it still runs, and its record."""
    for _ in range(10):
        if status().tasks.get(name) != "Running":
            return
        run("dvc", "queue", "kill", name)  # the call would print to this process's output
        time.sleep(1)


def failure(name: str) -> list[str]:
    """The last lines that a failed task printed."""
    try:
        log = run("dvc", "queue", "logs", name)  # the call would print to this process's output
    except UserError as error:
        return [str(error)]
    return [line for line in log.splitlines() if line.strip()][-LOG_LINES:]


def enqueue(experiments: Sequence[Planned]) -> None:
    """Queue the experiments that are neither queued nor running; failed ones are removed from the list and queued."""
    states = status().tasks
    for experiment in experiments:
        state = states.get(experiment.name)
        if state in ("Queued", "Running"):
            print(f"{experiment.name} is {state.lower()} already", flush=True)
            continue
        if state is not None:
            remove(experiment.name)
        put(experiment)
        print(f"{experiment.name} queued: {' '.join(experiment.overrides)}", flush=True)


def remove(name: str) -> None:
    """Remove a task that ended from the queue's list; its experiment stays, if it has one."""
    in_queue(lambda queue: queue.remove(revs=[name]))


class SweepProgress:
    """Which experiments of a sweep are waiting, finished or failed; one line is printed for each change."""

    def __init__(self, experiments: Sequence[Planned], finished: set[str]) -> None:
        self.waiting = {experiment.name: experiment for experiment in experiments if experiment.name not in finished}
        self.total, self.ended = len(experiments), len(experiments) - len(self.waiting)
        self.any_finished = self.ended > 0
        self.failed: list[str] = []
        self.times: list[tuple[float, float]] = []

    def finish(self, name: str) -> None:
        """Count a finished experiment, and estimate the time left."""
        self.times.append((time.monotonic(), self.waiting.pop(name).work))
        self.any_finished = True
        left = plan.seconds_left(self.times, sum(experiment.work for experiment in self.waiting.values()))
        self._count(f"{name} finished" + (f"; time left: {plan.duration(left)}" if self.waiting else ""))

    def fail(self, name: str, reason: Sequence[str]) -> None:
        """Count an experiment that is given up, with the lines of its reason."""
        del self.waiting[name]
        self.failed.append(name)
        self._count("\n    ".join([f"{name} failed:", *reason]))

    def _count(self, text: str) -> None:
        self.ended += 1
        print(f"[{self.ended}/{self.total}] {text}", flush=True)


def follow(progress: SweepProgress, commit: str, jobs: int, threads: int | None) -> None:
    """Run workers until no experiment waits.

    The first experiment runs alone, because it computes what the others share; then there are `jobs` workers.
    """
    began = time.monotonic()
    workers, next_look = 0, began
    misses: dict[str, int] = {}
    while progress.waiting:
        for name in [name for name in progress.waiting if name in finished(commit)]:
            progress.finish(name)
        needed = jobs if progress.any_finished else 1
        if progress.waiting and needed > workers:
            start(needed, threads)
            workers = needed
        if time.monotonic() >= next_look:
            workers, misses = look(progress, commit, workers, misses)
            pause = max(STATUS_EVERY[0], 0.05 * (time.monotonic() - began))
            next_look = time.monotonic() + min(pause, STATUS_EVERY[1])
        time.sleep(POLL)


def look(progress: SweepProgress, commit: str, workers: int, misses: dict[str, int]) -> tuple[int, dict[str, int]]:
    """Look at the queue for tasks that failed, tasks that were removed, and workers that were killed.

    Args:
        workers: the number that was started.
        misses: how often in a row each name, or `workers`, was missing before.

    Returns:
        The number of workers that run, 0 if they have to be started again; and the new misses.
    """
    queue = status()
    missing = {name for name in progress.waiting if queue.tasks.get(name) in (None, "Success")}
    missing |= set() if queue.workers else {"workers"}
    misses = {name: misses.get(name, 0) + 1 for name in missing}
    for name in [name for name in progress.waiting if name not in finished(commit)]:
        if queue.tasks.get(name) == "Failed":
            progress.fail(name, failure(name))
        elif misses.get(name, 0) >= MAX_MISSES:
            progress.fail(name, [NOT_ARRIVED if queue.tasks.get(name) == "Success" else LEFT])
    if misses.get("workers", 0) < MAX_MISSES:
        return workers, misses
    for name in [name for name in progress.waiting if queue.tasks.get(name) == "Running"]:
        print(f"{name} lost its worker and is queued again", flush=True)
        end_lost(name)
        enqueue([progress.waiting[name]])
    return 0, {}
