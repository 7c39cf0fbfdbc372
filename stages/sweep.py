"""A sweep over class counts and seeds: not a stage, but a queue of DVC experiments, each of which runs all of them.

    python -m stages.sweep --classes 2 3 5 8 10 --seeds 0 1 2 --jobs 1 -S finetune.epochs=3

It can be interrupted and run again at any time, and does what is missing: an experiment's name tells its settings and
its commit. Other tasks in DVC's queue stay as they are; those that are queued run too, since the workers take the queue
as it comes.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from src import dvc_queue, sweep, sweep_progress
from src.errors import UserError
from src.params import Settings, load
from src.sweep import Planned
from src.sweep_progress import Progress

CODE = ("src", "stages", "dvc.yaml", "data/dvc.yaml")


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", nargs="+", default=["2", "3", "5", "8", "10"], help="each K, or [cat,dog]")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--subset-seeds", nargs="+", default=[], help="draw the K classes at random, by each of these")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time, from the second on")
    parser.add_argument("-S", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="of params.yaml")
    parser.add_argument("--dry-run", action="store_true", help="only list the experiments")
    found = parser.parse_args(words)
    if found.jobs < 1:
        raise UserError(f"--jobs {found.jobs}: allowed is 1 or more")
    return found


def settings_with(overrides: Sequence[str]) -> Settings:
    """params.yaml as DVC will change it for an experiment, checked before anything is queued."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        shutil.copy("params.yaml", path)
        try:
            apply_overrides(path, list(overrides))
            return load(path)
        except DvcException as error:
            raise UserError(f"{' '.join(overrides)}: {error.__cause__ or error}".replace("\n", " ")) from None
        except UserError as error:
            raise UserError(str(error).removeprefix(f"{folder}/")) from None


def plan(arguments: argparse.Namespace, commit: str) -> list[Planned]:
    """Every experiment of the sweep, whether it has results or not."""
    combinations = sweep.overrides(arguments.classes, arguments.seeds, arguments.subset_seeds, arguments.settings)
    return sweep.unique(sweep.planned(words, settings_with(words).model_dump(), commit) for words in combinations)


def main(words: Sequence[str]) -> None:
    arguments = parse(words)
    commit = dvc_queue.head()
    dvc_queue.require_committed(CODE)
    experiments = plan(arguments, commit)
    progress = Progress(experiments, dvc_queue.finished(commit))
    print(f"{len(experiments)} experiments of commit {commit[:7]}, {progress.ended} of them finished", flush=True)
    if arguments.dry_run:
        for experiment in experiments:
            state = "missing" if experiment.name in progress.waiting else "finished"
            print(f"{experiment.name} {state}: {' '.join(experiment.overrides)}")
        return
    if not progress.waiting:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // arguments.jobs) if arguments.jobs > 1 else None
    sweep_progress.enqueue(list(progress.waiting.values()))
    sweep_progress.follow(progress, commit, arguments.jobs, threads)
    if progress.failed:
        raise UserError(
            f"{len(progress.failed)} of {len(experiments)} experiments failed: {', '.join(progress.failed)};"
            " mend the cause and run the same command again, which does what is missing"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(
            "\nThe workers go on. To stop them after the present experiments: dvc queue stop; at once: dvc queue stop"
            " --kill. The same command again goes on where this one stopped."
        )
        sys.exit(130)
