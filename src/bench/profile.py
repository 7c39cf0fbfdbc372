"""Where the time of a whole experiment goes: every stage split into what it does, and DVC.

The last commit's pipeline runs in a temporary clone with an empty cache, so that no file, experiment or result of this
repository changes. Downloads, and the hashes of an image folder, are those of this repository.
"""

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.core import git
from src.core.errors import UserError
from src.demo import SETTINGS
from src.device import runtime
from src.settings.settings import load
from src.storage import files, paths

SAMPLER = Path(__file__).parent / "sampler"
# By phase the beginnings of the functions that it is made of. A stack belongs to the innermost of its calls that is
# here; but to `starting` if it imports anything, and to `timing` whatever is timed.
PHASES = {
    "starting": ("src.settings.", "src.device.runtime.start"),
    "reading": ("src.storage.files.read", "src.data.", "src.prepare."),
    "networks": ("src.nets.models.", "src.nets.specialised.place", "src.nets.folding.fold", "src.device.mps_check."),
    "training": ("src.finetune.loop.",),
    "inference": ("src.nets.inference.", "src.finetune.loop.validate", "src.embed."),
    "timing": ("src.evaluate.timing.",),
    "fitting": ("src.readouts.", "src.stats.", "src.compare."),
    "drawing": ("matplotlib.", "src.storage.files.write_figure", "src.compare.figures.", "src.report."),
    "writing": ("src.storage.files.write", "src.storage.resume.", "dvclive."),
}
OTHER = "other"
COLUMNS = (*PHASES, OTHER)
IMPORTS = ("importlib._bootstrap.", "_frozen_importlib.")

Profile = dict[str, dict[str, float]]  # stage -> phase -> seconds


def phase_of(stack: str) -> str:
    """The phase of a stack of calls, as the sampler names them."""
    calls = stack.split(";")
    if stack == "python" or any(call.startswith(IMPORTS) for call in calls):
        return "starting"
    if any(call.startswith(PHASES["timing"]) for call in calls):
        return "timing"
    for call in reversed(calls):
        lengths = {
            name: max((len(start) for start in starts if call.startswith(start)), default=0)
            for name, starts in PHASES.items()
        }
        name = max(lengths, key=lambda name: lengths[name])  # of src.storage.files.write_figure, the longer beginning
        if lengths[name]:
            return name
    return OTHER


def split(stacks: Mapping[str, float]) -> dict[str, float]:
    """Seconds by phase, which add up to those of all stacks."""
    seconds = dict.fromkeys(COLUMNS, 0.0)
    for stack, some in stacks.items():
        seconds[phase_of(stack)] += some
    return seconds


def read(folder: Path) -> Profile:
    """The stages whose samples lie in a folder, in the order in which they ended."""
    profile: Profile = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        sampled = files.read_json(path)
        before = Counter(profile.get(sampled["stage"], {}))  # another process of the same stage
        before.update(split(sampled["stacks"]))
        profile[sampled["stage"]] = dict(before)
    return profile


def words_of(settings: Mapping[str, object], prefix: str = "") -> list[str]:
    """Settings as `dvc exp run -S` takes them: `finetune.epochs=3`."""
    words = []
    for name, value in settings.items():
        if isinstance(value, dict):
            words += words_of(value, f"{prefix}{name}.")
        else:
            text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value).lower()
            words.append(f"{prefix}{name}={text}")
    return words


def run(settings: Sequence[str]) -> tuple[Profile, float]:
    """One experiment from nothing: its stages, and the seconds from the command to its end.

    Raises:
        UserError: it failed.
    """
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        clone, samples = git.clone(Path(scratch) / "clone"), Path(scratch) / "samples"
        samples.mkdir()
        for lock in (clone / "dvc.lock", clone / "data" / "dvc.lock"):
            lock.unlink(missing_ok=True)
        options = [word for setting in ("resume=false", *settings) for word in ("-S", setting)]
        sampled = {"PYTHONPATH": str(SAMPLER), "SAMPLES": str(samples), "SWEEP_ROOT": str(here)}
        start = time.perf_counter()
        _shell("dvc", "exp", "run", *options, folder=clone, **sampled)
        return read(samples), time.perf_counter() - start


def _shell(*command: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(command, cwd=folder, env=git.environment() | environment)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` ended with {done.returncode}; what it printed says why")


def mean(profiles: Sequence[Profile]) -> Profile:
    """Of several runs, the mean of every number, so that they still add up."""
    stages = dict.fromkeys(stage for profile in profiles for stage in profile)
    return {
        stage: {name: sum(each[stage][name] for each in profiles if stage in each) / len(profiles) for name in COLUMNS}
        for stage in stages
    }


def table(profile: Profile, whole: float) -> list[str]:
    """Lines of a table: stages, DVC, which is what they leave of the whole, and the sums with their shares."""
    rows = {stage: [*seconds.values(), sum(seconds.values())] for stage, seconds in profile.items()}
    sums = [sum(column) for column in zip(*rows.values(), strict=True)]
    shown = {stage: [f"{some:.1f}" for some in row] for stage, row in rows.items()}
    shown["DVC"] = [*[""] * len(COLUMNS), f"{whole - sums[-1]:.1f}"]
    shown["all"] = [*(f"{some:.1f}" for some in sums[:-1]), f"{whole:.1f}"]
    shown["share"] = [*(f"{some / whole:.0%}" for some in sums[:-1]), "100%"]
    lines = [f"| {' | '.join(row)} |" for row in [["seconds", *COLUMNS, "whole"], ["---"] * (len(COLUMNS) + 2)]]
    return [*lines, *(f"| {' | '.join([name, *row])} |" for name, row in shown.items())]


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m src.bench profile", description=__doc__)
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--demo", action="store_true", help="the settings of `make demo`, before those of -S")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="experiments to run; the table has their mean")
    arguments = parser.parse_args(words)
    if arguments.runs < 1:
        raise UserError(f"--runs {arguments.runs}: allowed is 1 or more")
    return arguments


def main(words: Sequence[str]) -> None:
    """Run experiments from nothing, print where their time went, and write metrics/profile.json."""
    arguments = parse(words)
    settings = [*(words_of(SETTINGS) if arguments.demo else ()), *arguments.settings]
    runs = [run(settings) for _ in range(arguments.runs)]
    profile, wholes = mean([each for each, _ in runs]), [whole for _, whole in runs]
    whole = sum(wholes) / len(wholes)
    print(*table(profile, whole), sep="\n")
    chosen = load()
    environment = runtime.environment(runtime.start(chosen.device, chosen.precision))
    report = {"stages": profile, "seconds": whole, "low": min(wholes), "high": max(wholes), "runs": len(runs)}
    files.write_json(paths.metrics("profile"), {"profile": report, "settings": settings, "environment": environment})
    print(f"{len(runs)} runs of {min(wholes):.1f} to {max(wholes):.1f} s; {environment}\n{paths.metrics('profile')}")
