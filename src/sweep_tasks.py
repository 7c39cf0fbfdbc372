"""Runs the experiments of a sweep as tasks of an engine and tells what becomes of them. For `stages.sweep`."""

import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from src import dvc_queue, remote
from src.engines import Engine, LostError
from src.errors import UserError
from src.remote import Source, run_experiment
from src.sweep import Planned
from src.sweep_progress import POLL, Progress

LOGS = Path(".dvc") / "tmp" / "sweep"
# How often an experiment is tried again. One that failed will mostly fail again, but networks and disks have bad days;
# one that lost its worker did nothing wrong.
AGAIN_FAILED, AGAIN_LOST = 1, 3
LINES = 6  # of a failed experiment's log


def source(commit: str, git_remote: str | None) -> Source:
    """What the tasks begin with: this repository and its cache, or a git remote and the default DVC remote.

    Args:
        git_remote: a remote's name or address; None where every machine that runs tasks sees this folder.

    Raises:
        UserError: the git remote lacks the commit, or there is no DVC remote.
    """
    author = (_configured("user.name"), _configured("user.email"))
    params = Path("params.yaml").read_text(encoding="utf-8")
    root = dvc_queue.run("git", "rev-parse", "--show-toplevel").strip()
    if git_remote is None:
        cache = Path(root, dvc_queue.run("dvc", "cache", "dir").strip())
        return Source(root, commit, params, author, root, str(cache))
    try:
        url = dvc_queue.run("git", "remote", "get-url", git_remote).strip()
    except UserError:
        url = git_remote
    if Path(url).exists():
        url = str(Path(url).resolve())
    _require_remotes(url, commit, git_remote)
    return Source(url, commit, params, author, None, None)


def _configured(key: str) -> str:
    """What git knows of the user, or nothing."""
    return dvc_queue.run("git", "config", "--default", "", "--get", key).strip()


def _require_remotes(url: str, commit: str, named: str) -> None:
    """Refuse to send tasks to where they would find no commit to begin with, or no place for their files."""
    tips = {line.split()[0] for line in dvc_queue.run("git", "ls-remote", "--heads", "--tags", url).splitlines()}
    known = set(dvc_queue.run("git", "for-each-ref", "--contains", commit, "--format=%(objectname)").split())
    if commit not in tips and not tips & known:
        raise UserError(
            f"{named} does not have the commit {commit[:7]}: git push {named} HEAD"
            " (or, if others pushed since: git fetch)"
        )
    dvc_queue.require_committed((".dvc/config",))
    try:
        dvc_queue.run("dvc", "config", "--project", "core.remote")
    except UserError:
        raise UserError(
            "results need a default DVC remote that every machine reaches: dvc remote add --default NAME ADDRESS;"
            " commit .dvc/config and push"
        ) from None


def bring(source: Source, names: Iterable[str]) -> None:
    """Fetch those of these experiments that the git remote has; without one they are in this repository already."""
    if source.root is not None:
        return
    there = dvc_queue.run("git", "ls-remote", source.url, remote.reference(source.commit, "*")).split()
    wanted = {remote.reference(source.commit, name) for name in names} & set(there)
    if wanted:
        dvc_queue.run("git", "fetch", "-q", source.url, *(f"+{reference}:{reference}" for reference in sorted(wanted)))


class Tasks:
    """The tasks at work, and how often each experiment was tried again."""

    def __init__(self, progress: Progress, engine: Engine, source: Source, threads: int) -> None:
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
        return name in dvc_queue.finished(self.source.commit), ["it ended well, but its commit did not arrive"]


def _keep_log(name: str, said: str) -> None:
    """Keep what an attempt printed, and remove the clone that a killed one left."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("a", encoding="utf-8") as log:
        log.write(f"{said}\n")
    for left in remote.CLONES.glob(f"{name}-*"):
        shutil.rmtree(left, ignore_errors=True)
