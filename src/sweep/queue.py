"""DVC's queue of experiments, by its own commands.

What was tried on DVC 3.67.1 and is built on here: a queue worker starts the `dvc` that is first in PATH, and its stages
the `python`; it stops by itself ten seconds after the queue is empty; `dvc queue kill` interrupts the worker together
with the task, and what is queued then waits for `dvc queue start`; a task whose worker was killed stays `Running` until
it is killed too, once for its process and once for its record.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.core.errors import UserError
from src.sweep import plan
from src.sweep.plan import Planned

_TASK = re.compile(r"^[0-9a-f]{7}\s+(?P<name>\S+)\s.*\s(?P<state>Running|Queued|Failed|Success)\s*$")
_WORKERS = re.compile(r"^Worker status: (\d+) active, (\d+) idle")
_BUSY = ("Unable to acquire lock", "is busy", "rwlock")  # another DVC process is at work in this repository
# The later a state stands here the more it says, where a name has several tasks: an old one failed, a new one runs.
_STATES = ("Failed", "Success", "Queued", "Running")


@dataclass(frozen=True)
class Status:
    """The state of every task by its name, and how many workers answered."""

    tasks: dict[str, str]
    workers: int


def environment(threads: int | None = None) -> dict[str, str]:
    """The variables under which commands and workers run: this environment's `dvc` and `python` come first in PATH.

    Args:
        threads: of OpenMP in every worker, where the user has not said how many.
    """
    found = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', '')}"
    if threads is not None:
        found.setdefault("OMP_NUM_THREADS", str(threads))
    return found


def run(*command: str, threads: int | None = None) -> str:
    """What a command printed, after some more attempts where another DVC process holds a lock.

    Raises:
        UserError: it failed, with the last line of what it said.
    """
    for pause in (1, 2, 4, 8, None):
        status, out, err = _finish(command, environment(threads))
        said = (err + out).strip()
        if status == 0:
            return out
        if pause is None or not any(word in said for word in _BUSY):
            break
        time.sleep(pause)
    lines = [line for line in (err.strip() or said).splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith(("ERROR", "fatal"))] or lines or ["no reason given"]
    raise UserError(f"{' '.join(command)} ended with status {status}: {wrong[0]}")


def head() -> str:
    """The current commit.

    Raises:
        UserError: there is none.
    """
    return run("git", "rev-parse", "--verify", "HEAD").strip()


def require_committed(paths: tuple[str, ...]) -> None:
    """Refuse code that the commit in the experiments' names does not hold.

    Raises:
        UserError: naming the first changed or untracked file.
    """
    changed = run("git", "status", "--porcelain", "--", *paths).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{changed[0][3:]}{more} differs from the commit; commit first: an experiment bears its commit's name"
            " (params.yaml may differ: its settings are in the name)"
        )


def finished(commit: str) -> set[str]:
    """The names of the experiments of this commit that have results: DVC keeps a Git reference to each."""
    prefix = f"refs/exps/{commit[:2]}/{commit[2:]}/"
    return set(run("git", "for-each-ref", "--format=%(refname:lstrip=4)", prefix).split())


def status() -> Status:
    """The queue as it is now."""
    return read_status(run("dvc", "queue", "status"))


def read_status(text: str) -> Status:
    """What `dvc queue status` printed, as a table of task, name, time and state, then a line about the workers."""
    tasks: dict[str, str] = {}
    workers = 0
    for line in text.splitlines():
        if found := _TASK.match(line):
            name, state = found["name"], found["state"]
            if _STATES.index(state) >= _STATES.index(tasks.get(name, _STATES[0])):
                tasks[name] = state
        elif found := _WORKERS.match(line):
            workers = int(found[1]) + int(found[2])
    return Status(tasks, workers)


def put(name: str, overrides: tuple[str, ...]) -> None:
    """Queue one experiment."""
    run("dvc", "exp", "run", "--queue", "-n", name, *(word for setting in overrides for word in ("-S", setting)))


def remove(name: str) -> None:
    """Take a task that ended, and only it, off the queue's list; its experiment stays, if it has one."""
    run("dvc", "queue", "remove", name)


def _finish(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, str]:
    """Status, output and errors of a command, as soon as it ends.

    Through files: a pipe stays open in the workers that `dvc queue start` leaves behind, and would be read until they
    end.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        status = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err).returncode
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


def start(workers: int, threads: int | None) -> None:
    """See to it that so many workers run; those that do are left alone."""
    run("dvc", "queue", "start", "-j", str(workers), threads=threads)


def bury(name: str) -> None:
    """End a running task that no worker looks after any more: its process, should it still run, and its record."""
    for _ in range(10):
        if status().tasks.get(name) != "Running":
            return
        run("dvc", "queue", "kill", name)
        time.sleep(1)


def why(name: str, lines: int = 6) -> list[str]:
    """The last lines that a failed task printed."""
    try:
        said = run("dvc", "queue", "logs", name)
    except UserError as error:
        return [str(error)]
    return [line for line in said.splitlines() if line.strip()][-lines:]


POLL = 1.0  # seconds between looks at Git's references, which cost nothing
ASK = (3.0, 60.0)  # seconds between `dvc queue status`, which costs a second of work: soon at first, then seldom
MISSED = 3  # answers in a row: a busy worker may miss one, and a task that changes its state may miss in the list


def enqueue(experiments: Sequence[Planned]) -> None:
    """Queue what is neither queued nor running yet; what failed is taken off the list and queued again."""
    known = status().tasks
    for experiment in experiments:
        state = known.get(experiment.name)
        if state in ("Queued", "Running"):
            print(f"{experiment.name} is {state.lower()} already", flush=True)
            continue
        if state is not None:
            remove(experiment.name)
        put(experiment.name, experiment.overrides)
        print(f"{experiment.name} queued: {' '.join(experiment.overrides)}", flush=True)


class SweepProgress:
    """What became of the experiments, one line for each change."""

    def __init__(self, experiments: Sequence[Planned], finished: set[str]) -> None:
        self.waiting = {experiment.name: experiment for experiment in experiments if experiment.name not in finished}
        self.total, self.ended = len(experiments), len(experiments) - len(self.waiting)
        self.any_finished = self.ended > 0
        self.failed: list[str] = []
        self.times: list[tuple[float, int]] = []

    def finish(self, name: str) -> None:
        self.times.append((time.monotonic(), self.waiting.pop(name).classes))
        self.any_finished = True
        left = plan.seconds_left(self.times, sum(experiment.classes for experiment in self.waiting.values()))
        self._say(f"{name} finished" + (f"; time left: {plan.duration(left)}" if self.waiting else ""))

    def fail(self, name: str, reason: Sequence[str]) -> None:
        del self.waiting[name]
        self.failed.append(name)
        self._say("\n    ".join([f"{name} failed:", *reason]))

    def _say(self, text: str) -> None:
        self.ended += 1
        print(f"[{self.ended}/{self.total}] {text}", flush=True)


def follow(progress: SweepProgress, commit: str, jobs: int, threads: int | None) -> None:
    """Run workers until nothing waits: one at first, all from when an experiment has paid for what the rest shares."""
    begun = time.monotonic()
    workers, due = 0, begun
    misses: dict[str, int] = {}
    while progress.waiting:
        for name in [name for name in progress.waiting if name in finished(commit)]:
            progress.finish(name)
        wanted = jobs if progress.any_finished else 1
        if progress.waiting and wanted > workers:
            start(wanted, threads)
            workers = wanted
        if time.monotonic() >= due:
            workers, misses = look(progress, commit, workers, misses)
            due = time.monotonic() + min(max(ASK[0], 0.05 * (time.monotonic() - begun)), ASK[1])
        time.sleep(POLL)


def look(progress: SweepProgress, commit: str, workers: int, misses: dict[str, int]) -> tuple[int, dict[str, int]]:
    """Ask DVC what failed, what was taken off the queue, and whether the workers live.

    Returns:
        How many workers to count on, 0 where they have to be started anew; and how often in a row each name, or
        `workers`, was missing.
    """
    queue = status()
    missing = {name for name in progress.waiting if queue.tasks.get(name) in (None, "Success")}
    missing |= set() if queue.workers else {"workers"}
    misses = {name: misses.get(name, 0) + 1 for name in missing}
    for name in [name for name in progress.waiting if name not in finished(commit)]:
        if queue.tasks.get(name) == "Failed":
            progress.fail(name, why(name))
        elif misses.get(name, 0) >= MISSED:
            progress.fail(name, ["it left the queue without a result"])
    if misses.get("workers", 0) < MISSED:
        return workers, misses
    for name in [name for name in progress.waiting if queue.tasks.get(name) == "Running"]:
        print(f"{name} lost its worker and is queued again", flush=True)
        bury(name)
        enqueue([progress.waiting[name]])
    return 0, {}
