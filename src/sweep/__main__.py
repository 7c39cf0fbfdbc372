"""A sweep over classes, training images and pixels: each experiment runs the whole pipeline under every seed, in DVC's
queue or another engine.

    python -m src.sweep --classes 2 3 5 8 10 --seeds 0 1 2 --jobs 1 -S finetune.epochs=3
    python -m src.sweep --classes 2 5 10 --shots 10 100 null --sizes 32 64
    python -m src.sweep --engine ray --jobs 4 --cpus 2

It can be interrupted and started again at any time, and then runs the missing experiments, which it recognises by their
names: a name contains a hash of the settings and the commit. Other tasks in DVC's queue stay; those that are queued run
too, because the workers take all tasks in order. The needs of the other engines are in docs/cluster.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from src.core.cpus import cores
from src.core.errors import UserError, one_line
from src.data.classes import class_names
from src.settings.settings import Settings, load
from src.storage import paths
from src.sweep import engines, plan, queue, tasks
from src.sweep.plan import Planned
from src.sweep.queue import SweepProgress

CODE = ("src", "stages", "dvc.yaml", "data/dvc.yaml")
ENGINES = ("queue", "ray", "slurm", "local")
ENGINE_OPTIONS = ("cpus", "gpus", "address", "hours", "git_remote")  # that DVC's queue does not have
WORKERS_GO_ON = (
    "The workers go on. To stop them after the present experiments: dvc queue stop; at once: dvc queue stop --kill. The"
    " same command again goes on where this one stopped."
)
TASKS_STOPPED = (
    "The running experiments were stopped; finished ones are kept, and so are finished stages. The same command again"
    " runs what is missing."
)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line, see `check`."""
    parser = argparse.ArgumentParser(prog="python -m src.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", nargs="+", default=["2", "3", "5", "8", "10"], help="each K, or [cat,dog]")
    parser.add_argument("--shots", nargs="+", default=[], help="training images of each class; null for all")
    parser.add_argument("--sizes", nargs="+", default=[], help="sides of the images in pixels")
    parser.add_argument("--seeds", nargs="+", default=[], help="of each experiment; those of params.yaml if not given")
    parser.add_argument("--subset-seeds", nargs="+", default=[], help="of random draws of the K classes")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time, after the first")
    parser.add_argument("-S", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="of params.yaml")
    parser.add_argument("--dry-run", action="store_true", help="only list the experiments")
    parser.add_argument("--engine", default="queue", metavar="|".join(ENGINES), help="see docs/cluster.md")
    parser.add_argument("--cpus", type=int, help="of each experiment; on this machine all / --jobs if not given")
    parser.add_argument("--gpus", type=int, help="of each experiment; none if not given")
    parser.add_argument("--address", help="of a Ray cluster, host:port; a new Ray on this machine if not given")
    parser.add_argument("--hours", type=int, help="time limit of an experiment on Slurm; 24 if not given")
    parser.add_argument("--git-remote", help="for machines that do not share this disk")
    return check(parser.parse_args(words))


def check(options: argparse.Namespace) -> argparse.Namespace:
    """Refuse an unknown engine, options that it does not have, and numbers that are too small.

    Raises:
        UserError: it names the first one.
    """
    if options.engine not in ENGINES:
        raise UserError(f"--engine {options.engine}: allowed are {', '.join(ENGINES)}")
    for name, least in (("jobs", 1), ("cpus", 1), ("gpus", 0), ("hours", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: allowed is {least} or more")
    on_cluster = options.engine == "ray" and (options.address or os.environ.get("RAY_ADDRESS"))
    elsewhere = options.engine == "slurm" or on_cluster
    if elsewhere and options.cpus is None:
        raise UserError("--cpus is not given: CPUS of an experiment on other machines, of which this one knows nothing")
    given = [name for name in ENGINE_OPTIONS if getattr(options, name) is not None]
    if options.engine == "queue" and given:
        raise UserError(f"--{given[0].replace('_', '-')}: DVC's queue has no such option; --engine ray or slurm has")
    return options


def settings_with(overrides: Sequence[str]) -> Settings:
    """The settings of an experiment: params.yaml with the overrides applied by DVC, and checked."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

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


def planned(arguments: argparse.Namespace, commit: str) -> list[Planned]:
    """Every experiment of the sweep, whether it has results or not.

    Raises:
        UserError: settings are wrong, or there are several random subsets of all classes, which are one subset.
    """
    axes = {name: getattr(arguments, name) for name in ("seeds", "subset_seeds", "shots", "sizes")}
    combinations = plan.overrides(arguments.classes, arguments.settings, **axes)
    experiments = []
    for words in combinations:
        settings = settings_with(words)
        if len(set(arguments.subset_seeds)) > 1:
            require_subsets(settings)
        experiments.append(plan.planned(words, settings.model_dump(), commit))
    return plan.unique(experiments)


def require_subsets(settings: Settings) -> None:
    """Refuse a random subset of all classes.

    Raises:
        UserError: the dataset has no more classes.
    """
    known = class_names(settings.dataset, paths.from_root(settings.folder or ""))
    if settings.classes == len(known):
        raise UserError(
            f"--subset-seeds with classes={len(known)}: every subset of all {len(known)} classes is the same; give "
            "fewer classes, or one subset seed"
        )


def by_queue(progress: SweepProgress, commit: str, jobs: int) -> None:
    """Run the missing experiments in DVC's queue.

    Raises:
        UserError: it cannot work in this folder.
    """
    queue.require_plain(Path.cwd())
    threads = max(1, cores() // jobs) if jobs > 1 else None
    try:
        queue.enqueue(list(progress.waiting.values()))
        queue.follow(progress, commit, jobs, threads)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(WORKERS_GO_ON) from None


def by_engine(progress: SweepProgress, commit: str, options: argparse.Namespace) -> None:
    """Run the missing experiments as tasks of Ray or Slurm."""
    source = tasks.source(commit, options.git_remote)
    cpus = options.cpus or max(1, cores() // options.jobs)
    try:
        engine = engines.start(options.engine, cpus, options.gpus or 0, options.address, options.hours or 24)
        tasks.Tasks(progress, engine, source, cpus).follow(options.jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(TASKS_STOPPED) from None


def main(words: Sequence[str]) -> None:
    """Run the missing experiments of a sweep.

    Raises:
        UserError: an option is wrong, the code is not committed, or experiments failed; it names them.
        KeyboardInterrupt: it says what goes on, and how to go on.
    """
    arguments = parse(words)
    commit = queue.require_ready(CODE)
    experiments = planned(arguments, commit)
    if arguments.git_remote is not None:  # experiments that ended after an earlier sweep was interrupted
        tasks.bring(tasks.source(commit, arguments.git_remote), [experiment.name for experiment in experiments])
    progress = SweepProgress(experiments, queue.finished(commit))
    print(f"{len(experiments)} experiments of commit {commit[:7]}, {progress.ended} of them finished", flush=True)
    if arguments.dry_run:
        for experiment in experiments:
            state = "missing" if experiment.name in progress.waiting else "finished"
            print(f"{experiment.name} {state}: {' '.join(experiment.overrides)}")
        return
    if not progress.waiting:
        return
    if arguments.engine == "queue":
        by_queue(progress, commit, arguments.jobs)
    else:
        by_engine(progress, commit, arguments)
    if progress.failed:
        raise UserError(
            f"{len(progress.failed)} of {len(experiments)} experiments failed: {', '.join(progress.failed)};"
            " correct the cause and run the same command again, which runs the missing ones"
        )


if __name__ == "__main__":
    with one_line():
        try:
            main(sys.argv[1:])
        except KeyboardInterrupt as interruption:
            print(f"\n{interruption}")
            sys.exit(130)
