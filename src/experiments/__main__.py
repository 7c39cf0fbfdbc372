"""Finished experiments of this repository, compared.

python -m src.experiments scaling                        # all experiments of the current commit, by class count
python -m src.experiments scaling NAME NAME ...          # or these; any Git revision with results will do
python -m src.experiments effects                        # of every setting in which they differ
python -m src.experiments effects finetune.mix           # of those that differ in this setting and seeds alone
python -m src.experiments effects --experiments NAME NAME ...
python -m src.experiments effects --classes horse ship   # on the test images of these classes alone
python -m src.experiments plan --margin 0.005            # how many seeds and test images that takes, by the last run
python -m src.experiments plan NAME --power 0.9          # by an experiment
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields

import matplotlib
from matplotlib.figure import Figure

from src.core import commands, seeds
from src.core.errors import UserError, did_you_mean
from src.experiments import effects, plan, read, scaling, scaling_figures
from src.experiments.effects import Group
from src.experiments.scaling import Point, Run
from src.settings.settings import Settings, flat
from src.stats.intervals import Sampling
from src.storage import files, paths

SCALING = paths.PLOTS / "scaling"


def read_runs(chosen: Sequence[str]) -> tuple[list[Run], Sampling]:
    """The runs that were named, or those of the current commit; they must differ in nothing but classes and seeds."""
    comparisons = read.comparisons(chosen)
    settings = {name: read.settings(name) for name in comparisons}
    if why := read.mixed(settings):
        raise UserError(f"{why}; choose runs that agree: python -m src.experiments scaling NAME ...")
    devices = dict.fromkeys(str(values.get("device")) for values in settings.values())
    if len(devices) > 1:
        print(f"device differs ({', '.join(devices)}): the times do not compare")
    kept, repeated = read.distinct(settings)
    for name, other in repeated:
        print(f"left out: {name} has the classes and seeds of {other}")
    confidence, resamples = (settings[kept[0]][f"compare.{key}"] for key in ("confidence", "resamples"))
    runs = [read.run_of(name, settings[name], comparisons[name]) for name in kept]
    return runs, Sampling(confidence, resamples, seeds.derive(0, "scaling"))


def write_points(name: str, points: Sequence[Point]) -> None:
    rows = ([getattr(point, field.name) for field in fields(Point)] for point in points)
    files.write_table(SCALING / f"{name}.csv", [field.name for field in fields(Point)], rows)


def write_figure(name: str, figure: Figure) -> None:
    """PNG, and SVG without the date and the random ids that would change its bytes."""
    files.write_figure(SCALING / f"{name}.png", figure)
    with (
        files.replacing(SCALING / f"{name}.svg") as temporary,
        matplotlib.rc_context({"svg.hashsalt": name}),
    ):
        figure.savefig(temporary, metadata={"Date": None, "Creator": None})


def scaling_main(chosen: Sequence[str]) -> None:
    runs, sampling = read_runs(chosen)
    points = {
        "accuracy": scaling.accuracy(runs, sampling),
        "gap": scaling.gaps(runs, sampling),
        "base_classes": scaling.base_classes(runs, sampling),
    }
    costs = scaling.compute(runs)
    note = scaling.describe(runs, sampling)
    files.empty_folder(SCALING)  # no figure of other experiments may stay
    for name, part in points.items():
        write_points(name, part)
    files.write_table(SCALING / "compute.csv", list(costs[0]), (list(row.values()) for row in costs))
    write_figure("accuracy", scaling_figures.accuracy(points["accuracy"], note))
    write_figure("gap", scaling_figures.gap(points["gap"], note))
    write_figure("compute", scaling_figures.compute(costs, note))
    if points["base_classes"]:
        write_figure("base_classes", scaling_figures.base_classes(points["base_classes"], runs[0].base_classes, note))
    print(scaling.render(points["accuracy"], points["gap"]))
    print(note, *scaling.missing(runs), f"written to {SCALING}/", sep="\n")


EFFECTS = paths.PLOTS / "effects"
DEFAULTS = flat(Settings().model_dump())


def parse_effects(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m src.experiments effects", description="What a setting changed.")
    parser.add_argument("settings", nargs="*", help="in which experiments may differ; all that do by default")
    parser.add_argument("--experiments", nargs="+", default=[], metavar="NAME", help="those of this commit by default")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="whose test images count; all, else")
    return parser.parse_args(words)


def differing(settings: Mapping[str, read.Settings], wanted: Sequence[str]) -> list[str]:
    """The settings whose effect is measured: those that were named, or all that differ but the seed.

    Raises:
        UserError: there is none, it does not exist, or others differ too.
    """
    for name in wanted:
        if name not in DEFAULTS:
            raise UserError(
                f"{name}: no such setting; {did_you_mean(name, DEFAULTS)}`python -m src.settings` prints all"
            )
    if wanted and (why := read.mixed(settings, ("seed", *wanted))):
        raise UserError(f"{why}; name that setting too, or choose experiments that agree: --experiments NAME ...")
    names = [key for key in read.varied(settings) if key != "seed"]
    if not names:
        raise UserError(f"these {len(settings)} experiments differ in no setting but the seed; run some that do")
    return names


def read_groups(arguments: argparse.Namespace) -> tuple[list[Group], Sampling]:
    """The experiments grouped by the settings that differ, the group nearest to the defaults first."""
    comparisons = read.comparisons(arguments.experiments)
    settings = {name: read.settings(name) for name in comparisons}
    if arguments.settings and not arguments.experiments:
        chosen = read.agreeing(settings, ("seed", *arguments.settings))
        if others := [name for name in settings if name not in chosen]:
            print(f"left out, as other settings differ: {read.listed(others)}")
        settings = {name: settings[name] for name in chosen}
    keys = differing(settings, arguments.settings)
    kept, repeated = read.distinct(settings, ("seed", *keys))
    for name, other in repeated:
        print(f"left out: {name} has the settings of {other}")
    groups: dict[str, Group] = {}
    for name in kept:
        values = {key: settings[name][key] for key in keys if key in settings[name]}
        run = read.run_of(name, settings[name], comparisons[name])
        part = effects.only(run, labels(arguments.classes, comparisons[name].classes))
        groups.setdefault(repr(values), Group(values, {})).runs[run.seed] = part
    confidence, resamples = (settings[kept[0]][f"compare.{key}"] for key in ("confidence", "resamples"))
    return effects.order(groups.values(), DEFAULTS), Sampling(confidence, resamples, seeds.derive(0, "effects"))


def labels(chosen: Sequence[str], names: Sequence[str]) -> list[int]:
    """The labels of the chosen classes; of all, if none is chosen.

    Raises:
        UserError: the experiments have no such class.
    """
    for name in chosen:
        if name not in names:
            raise UserError(f"--classes {name}: {did_you_mean(name, names)}the experiments have {', '.join(names)}")
    return [names.index(name) for name in chosen or names]


def effects_main(words: Sequence[str]) -> None:
    groups, sampling = read_groups(parse_effects(words))
    every = effects.effects(groups, sampling)
    note = effects.describe(groups, sampling)
    files.empty_folder(EFFECTS)  # nothing of other experiments may stay
    rows = [effect.row() for effect in every]
    files.write_table(EFFECTS / "effects.csv", list(rows[0]), (list(row.values()) for row in rows))
    if changed := effects.moved(every):
        files.write_figure(EFFECTS / "differences.png", effects.differences(changed, note))
    print(effects.render(every), note, f"written to {EFFECTS}/", sep="\n")


if __name__ == "__main__":
    commands.run("src.experiments", scaling=scaling_main, effects=effects_main, plan=plan.main)
