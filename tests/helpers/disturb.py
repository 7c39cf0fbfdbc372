"""Disturb a command at random moments, by signals or a full disk, and give it again until it has done its work.

    python -m tests.helpers.disturb kills repro|experiment|small|queue|ray COUNT SEED
    python -m tests.helpers.disturb disks repro|small COUNT SEED

Signals are SIGKILL, SIGTERM, SIGINT and SIGHUP in turn. They go to everything that the command started, to the process
that was started alone, or to any one of the others. Before each new attempt `src.mend` runs, as in `make`. The results
must have the bytes of a run that nothing disturbed. Prints each disturbance as it is made, and a line of JSON in the
end; a fault ends it with what was printed.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import Clone
from tests.helpers import toy_pipeline

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TARGETS = ("all", "first", "other")
TOY = {
    "classes": 2,
    "seeds": [0],
    "prepare": {"val_fraction": 0.2, "per_class": 20},
    "resnet": {"arch": "shufflenet_v2_x0_5", "weights": "random"},
    "convnext": {"arch": "mobilenet_v3_small", "weights": "random"},
    "finetune": {"epochs": 3, "batch_size": 8},
    "tune": {"configurations": 2},
    "frozen": {"readouts": ["linear", "centroid"]},
}
ROOM = 2 * 1024**3  # bytes of a disk that is large enough
DVC = [sys.executable, "-m", "dvc"]
SWEEP = [sys.executable, "-m", "src.sweep", "--classes", "2", "3", "4", "--seeds", "0"]


@dataclass(frozen=True)
class Work:
    """A command, and what it leaves in a clone."""

    command: list[str]
    results: Callable[[Clone], dict]
    small: bool = False  # two stages of a second, and not the whole pipeline
    latest: float = 0.25  # moment of a signal, as a share of the time that an undisturbed run takes


def of_experiments(clone: Clone) -> dict[str, str]:
    """What the experiments of the commit hold, by their number of classes: `k02`."""
    commit = clone.git("rev-parse", "HEAD").strip()
    names = clone.git("for-each-ref", "--format=%(refname)", f"refs/exps/{commit[:2]}/{commit[2:]}").split()
    return {name.split("/")[-1].split("-")[0]: clone.git("show", f"{name}:metrics/compare.json") for name in names}


WORKS = {
    "repro": Work([*DVC, "repro"], Clone.hashes),
    "small": Work([*DVC, "repro"], Clone.hashes, small=True, latest=1),
    "experiment": Work([*DVC, "exp", "run", "-S", "finetune.lr=0.002"], Clone.hashes),
    "queue": Work(SWEEP, of_experiments, small=True),
    "ray": Work([*SWEEP, "--engine", "ray", "--cpus", "1"], of_experiments, small=True),
}


def fresh(folder: Path, small: bool) -> Clone:
    """A clone in which nothing ran."""
    folder.mkdir()
    clone = Clone(folder).fill()
    if small:
        return toy_pipeline.replace(clone)
    clone.configure(**TOY)
    return clone


def inside(folder: Path) -> list[psutil.Process]:
    """The processes at work in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            here = Path(process.cwd()).is_relative_to(folder)
            if here and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
    return found


def started(clone: Clone, command: list[str], log: Path) -> subprocess.Popen:
    """A command in a session of its own, whose output goes to a file; every step of a training is saved."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "RESUME_EVERY": "0", "PYTHONPATH": ""}
    variables.pop("DVC_ROOT", None)

    def default() -> None:  # what a shell starts in the background ignores SIGINT
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    with log.open("w") as file:
        return subprocess.Popen(
            command, cwd=clone.folder, env=variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=default,
        )  # fmt: skip


def send(number: int, target: str, first: subprocess.Popen, folder: Path, rng: random.Random) -> str:
    """Send a signal to one of the targets; a line that says to which."""
    everyone = inside(folder)
    others = [process for process in everyone if process.pid != first.pid]
    hit = (
        everyone
        if target == "all"
        else [rng.choice(others)]
        if target == "other" and others
        else [psutil.Process(first.pid)]
    )
    words = []
    for process in hit:
        with contextlib.suppress(psutil.Error):
            words.append(" ".join(process.cmdline()[-3:]))
            process.send_signal(number)
    return f"{signal.Signals(number).name} to {target}: {words}"


def ended(first: subprocess.Popen, folder: Path, *, everyone: bool) -> None:
    """Wait for the end of a command that was hit, and kill what hangs."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.wait(90)
    if everyone or first.poll() is None:
        for process in inside(folder):
            with contextlib.suppress(psutil.Error):
                process.kill()
    first.wait()


def kills(work: Work, count: int, seed: int, root: Path) -> Counter[str]:
    """So many signals, over as many whole runs as they take."""
    rng, counts, log = random.Random(seed), Counter[str](), root / "log"
    expected, longest = None, 0.0
    while counts["kills"] < count or not counts["whole runs"]:
        clone, undisturbed = fresh(root / f"clone{counts['whole runs']}", work.small), expected is None
        history = []
        while True:
            began = time.monotonic()
            first = started(clone, work.command, log)
            limit = 3600 if undisturbed or counts["kills"] >= count else rng.uniform(0.2, max(longest * work.latest, 1))
            with contextlib.suppress(subprocess.TimeoutExpired):
                first.wait(limit)
            if first.poll() is not None:
                said = log.read_text()
                assert first.returncode == 0, "\n".join([*history, said])
                break
            number, target = SIGNALS[counts["kills"] % 4], TARGETS[counts["kills"] // 4 % 3]
            history.append(send(number, target, first, clone.folder, rng))
            ended(first, clone.folder, everyone=target == "all" and number == signal.SIGKILL)
            counts["kills"] += 1
            print(counts["kills"], history[-1], file=sys.stderr, flush=True)
            counts[signal.Signals(number).name] += 1
            said = log.read_text()
            counts["tracebacks of stages"] += "stages/" in said and "Traceback" in said
            mended = clone.module("src.mend")
            counts["mended"] += len(mended.splitlines())
            history.append(mended)
        result = work.results(clone)
        assert undisturbed or result == expected, "\n".join([*history, repr(result), repr(expected)])
        longest, expected = max(longest, (time.monotonic() - began) * undisturbed), expected or result
        counts["whole runs"] += not undisturbed
        ended(first, clone.folder, everyone=True)
        shutil.rmtree(clone.folder)
    return counts


def disks(work: Work, count: int, seed: int, root: Path) -> Counter[str]:
    """So many runs on a disk that is full at a random moment, and is larger when the command is given again."""
    rng, counts, log, disk = random.Random(seed), Counter[str](), root / "log", root / "disk"
    with mounted(disk):
        whole = fresh(disk / "clone", work.small)
        start = shutil.disk_usage(disk).used
        assert started(whole, work.command, log).wait() == 0, log.read_text()
        expected, end = work.results(whole), shutil.disk_usage(disk).used
    while counts["full disks"] < count:
        with mounted(disk) as resize:
            clone = fresh(disk / "clone", work.small)
            resize(rng.randint(start, end))
            if started(clone, work.command, log).wait() == 0:
                counts["large enough"] += 1
                continue
            said = log.read_text()
            counts["full disks"] += 1
            print(counts["full disks"], said.splitlines()[-1], file=sys.stderr, flush=True)
            counts["tracebacks of stages"] += "stages/" in said and "Traceback" in said
            resize(ROOM)
            mended = clone.module("src.mend")
            counts["mended"] += len(mended.splitlines())
            assert started(clone, work.command, log).wait() == 0, "\n".join([said, mended, log.read_text()])
            assert work.results(clone) == expected, said
    return counts


@contextlib.contextmanager
def mounted(disk: Path) -> Iterator[Callable[[int], None]]:
    """A disk in memory, whose size in bytes can be changed."""
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", disk], check=True)
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
    finally:
        for process in inside(disk):  # what outlived its command keeps the disk
            with contextlib.suppress(psutil.Error):
                process.kill()
        subprocess.run(["umount", "--lazy", disk], check=True)


def main() -> None:
    kind, name, count, seed = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no disk stays mounted
    with tempfile.TemporaryDirectory() as scratch:
        disturb = {"kills": kills, "disks": disks}[kind]
        print(json.dumps(disturb(WORKS[name], int(count), int(seed), Path(scratch))))


if __name__ == "__main__":
    main()
