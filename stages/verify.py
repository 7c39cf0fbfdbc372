"""Whether the results that were committed come out again: not a stage, but a second run of all of them.

It runs the pipeline of the last commit in a temporary clone with an empty cache, on the same downloads, and compares
every artefact with the committed lock files, and every number with the committed metrics.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from dvc.utils.serialize import modify_yaml

from src import verify
from src.errors import UserError
from src.params import Settings
from stages import run


def shell(*command: str, folder: Path, **environment: str) -> None:
    known = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    done = subprocess.run(command, cwd=folder, env=known | environment)
    if done.returncode:
        raise UserError(f"{' '.join(command)} ended with {done.returncode}; run `dvc repro` and try again")


def start_afresh(clone: Path) -> None:
    """Forget what a clone knows of results, and keep its stages from what interrupted ones saved."""
    for lock in clone.rglob("dvc.lock"):
        lock.unlink()
    with modify_yaml(clone / "params.yaml") as values:  # DVC's own, by which 1e-05 stays a number
        values["resume"] = False


def main(_: Settings) -> None:
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        first, second = Path(scratch) / "committed", Path(scratch) / "again"
        for folder in (first, second):
            shell("git", "clone", "-q", str(here), str(folder), folder=here)
        if not verify.locked(first):
            raise UserError("dvc.lock: nothing to compare with in the last commit; run `dvc repro` and commit dvc.lock")
        start_afresh(second)
        print(f"running the pipeline of the last commit again, in {second}", flush=True)
        shell("dvc", "repro", folder=second, SWEEP_ROOT=str(here))
        found = list(verify.differences(first, second))
        if machines := list(verify.machines(first, second)):
            print("recorded on another machine, or with other versions:", *machines, sep="\n  ")
        if found:
            print(f"{len(found)} artefacts differ:", *found, sep="\n  ")
            sys.exit(1)
        print(f"{len(verify.locked(first))} stages: every artefact and every number came out as it was committed")


if __name__ == "__main__":
    run(main)
