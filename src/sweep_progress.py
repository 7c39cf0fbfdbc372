"""Runs the experiments of a sweep through DVC's queue and tells what becomes of them. For `python -m stages.sweep`."""

import time
from collections.abc import Sequence

from src import dvc_queue, sweep
from src.sweep import Planned

POLL = 1.0  # seconds between looks at Git's references, which cost nothing
ASK = (3.0, 60.0)  # seconds between `dvc queue status`, which costs a second of work: soon at first, then seldom
MISSED = 3  # answers in a row: a busy worker may miss one, and a task that changes its state may miss in the list


def enqueue(experiments: Sequence[Planned]) -> None:
    """Queue what is neither queued nor running yet; what failed is taken off the list and queued again."""
    known = dvc_queue.status().tasks
    for experiment in experiments:
        state = known.get(experiment.name)
        if state in ("Queued", "Running"):
            print(f"{experiment.name} is {state.lower()} already", flush=True)
            continue
        if state is not None:
            dvc_queue.remove(experiment.name)
        dvc_queue.put(experiment.name, experiment.overrides)
        print(f"{experiment.name} queued: {' '.join(experiment.overrides)}", flush=True)


class Progress:
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
        left = sweep.seconds_left(self.times, sum(experiment.classes for experiment in self.waiting.values()))
        self._say(f"{name} finished" + (f"; time left: {sweep.duration(left)}" if self.waiting else ""))

    def fail(self, name: str, reason: Sequence[str]) -> None:
        del self.waiting[name]
        self.failed.append(name)
        self._say("\n    ".join([f"{name} failed:", *reason]))

    def _say(self, text: str) -> None:
        self.ended += 1
        print(f"[{self.ended}/{self.total}] {text}", flush=True)


def follow(progress: Progress, commit: str, jobs: int, threads: int | None) -> None:
    """Run workers until nothing waits: one at first, all from when an experiment has paid for what the rest shares."""
    begun = time.monotonic()
    workers, due = 0, begun
    misses: dict[str, int] = {}
    while progress.waiting:
        for name in [name for name in progress.waiting if name in dvc_queue.finished(commit)]:
            progress.finish(name)
        wanted = jobs if progress.any_finished else 1
        if progress.waiting and wanted > workers:
            dvc_queue.start(wanted, threads)
            workers = wanted
        if time.monotonic() >= due:
            workers, misses = look(progress, commit, workers, misses)
            due = time.monotonic() + min(max(ASK[0], 0.05 * (time.monotonic() - begun)), ASK[1])
        time.sleep(POLL)


def look(progress: Progress, commit: str, workers: int, misses: dict[str, int]) -> tuple[int, dict[str, int]]:
    """Ask DVC what failed, what was taken off the queue, and whether the workers live.

    Returns:
        How many workers to count on, 0 where they have to be started anew; and how often in a row each name, or
        `workers`, was missing.
    """
    queue = dvc_queue.status()
    missing = {name for name in progress.waiting if queue.tasks.get(name) in (None, "Success")}
    missing |= set() if queue.workers else {"workers"}
    misses = {name: misses.get(name, 0) + 1 for name in missing}
    for name in [name for name in progress.waiting if name not in dvc_queue.finished(commit)]:
        if queue.tasks.get(name) == "Failed":
            progress.fail(name, dvc_queue.why(name))
        elif misses.get(name, 0) >= MISSED:
            progress.fail(name, ["it left the queue without a result"])
    if misses.get("workers", 0) < MISSED:
        return workers, misses
    for name in [name for name in progress.waiting if queue.tasks.get(name) == "Running"]:
        print(f"{name} lost its worker and is queued again", flush=True)
        dvc_queue.bury(name)
        enqueue([progress.waiting[name]])
    return 0, {}
