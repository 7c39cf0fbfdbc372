"""Finished experiments of this repository, compared.

python -m src.experiments table                          # the commit and its experiments at a glance
python -m src.experiments scaling                        # all experiments of the current commit, by class count
python -m src.experiments scaling NAME NAME ...          # or these; any Git revision with results will do
python -m src.experiments effects                        # of every setting in which they differ, on validation images
python -m src.experiments effects finetune.mix           # of those that differ in this setting and seeds alone
python -m src.experiments effects --on test              # on the test images
python -m src.experiments effects --experiments NAME NAME ...
python -m src.experiments effects --classes horse ship   # on the images of these classes alone
python -m src.experiments plan --margin 0.005            # how many seeds and test images that takes, by the last run
python -m src.experiments plan NAME --power 0.9          # by an experiment
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from src.core import commands
from src.core.errors import UserError, did_you_mean
from src.experiments import agree, effects, plan, read, region, region_figure, scaling, scaling_figures, table
from src.experiments.effects import Group
from src.experiments.region import Crossing, Place, Trend
from src.experiments.runs import Part, Run, pooled
from src.experiments.scaling import Level, Point
from src.records.compare import Comparison
from src.settings.settings import Settings, flat
from src.storage import files, paths

SCALING = paths.PLOTS / "scaling"
MIXED = "go on although precisions or kinds of device differ"
ON: dict[str, Part] = {"val": "validation", "test": "test"}


def read_runs(chosen: Sequence[str], *, mixed: bool) -> tuple[list[Run], Level, list[str]]:
    """The runs that were named, or those of the current commit; they must differ in nothing but what a sweep varies.

    Returns:
        The runs, each seed once; the level of intervals; and what to note beside them.
    """
    comparisons = read.comparisons(chosen)
    settings = {name: read.settings(name) for name in comparisons}
    if not chosen and (why := agree.mixed(settings)):
        settings = without_commit(settings, why)
        comparisons = {name: comparisons[name] for name in settings}
    if why := agree.mixed(settings):
        raise UserError(f"{why}; choose runs that agree: python -m src.experiments scaling NAME ...")
    notes = machines(comparisons, mixed=mixed)
    runs = pooled_aloud([read.run_of(name, settings[name], comparisons[name]) for name in comparisons])
    confidence, margin = (next(iter(settings.values()))[f"compare.{key}"] for key in ("confidence", "margin"))
    return runs, Level(confidence, margin), notes


def without_commit(settings: dict[str, dict[str, Any]], why: str) -> dict[str, dict[str, Any]]:
    """The settings without the commit's own, where there are others; said with the reason."""
    others = {name: values for name, values in settings.items() if name != read.HEAD}
    if 0 < len(others) < len(settings):
        print(f"left out: the commit's own result, as {why}")
        return others
    return settings


def machines(comparisons: Mapping[str, Comparison], *, mixed: bool, free: Sequence[str] = ()) -> list[str]:
    """What differs between the machines that ran experiments, printed; what is noted beside the results.

    Raises:
        UserError: kinds differ whose numbers do not compare.
    """
    recorded = {name: list(read.environments(name, comparison)) for name, comparison in comparisons.items()}
    said = agree.differing_machines(recorded, mixed=mixed, free=free)
    print(*said, sep="\n", end="\n" if said else "")
    return [line for line in said if agree.MIXED in line]


def pooled_aloud(runs: Sequence[Run]) -> list[Run]:
    """Runs with each seed once; those that repeat a seed are named."""
    kept, said = pooled(runs)
    print(*said, sep="\n", end="\n" if said else "")
    return kept


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


def scaling_main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m src.experiments scaling", description="Over classes and so on.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of experiments; those of this commit by default")
    parser.add_argument("--mixed", action="store_true", help=MIXED)
    arguments = parser.parse_args(words)
    runs, level, notes = read_runs(arguments.names, mixed=arguments.mixed)
    points = {
        "accuracy": scaling.accuracy(runs, level.confidence),
        "gap": scaling.gaps(runs, level.confidence),
        "base_classes": scaling.base_classes(runs, level.confidence),
    }
    costs = scaling.compute(runs, level.confidence)
    note = "; ".join([scaling.describe(runs, level), *notes])
    files.empty_folder(SCALING)  # no figure of other experiments may stay
    for name, part in points.items():
        write_points(name, part)
    files.write_table(SCALING / "compute.csv", list(costs[0]), (list(row.values()) for row in costs))
    for axis in scaling.varying(points["accuracy"]):
        end = "" if axis == "classes" else f"_{axis}"
        write_figure(f"accuracy{end}", scaling_figures.accuracy(points["accuracy"], axis, note))
        write_figure(f"gap{end}", scaling_figures.gap(points["gap"], axis, note))
    write_figure("compute", scaling_figures.compute(costs, note))
    if points["base_classes"]:
        write_figure("base_classes", scaling_figures.base_classes(points["base_classes"], runs[0].base_classes, note))
    print(scaling.render(points["accuracy"], points["gap"]))
    print(*show_region(runs, level, note), sep="\n")
    print(note, *scaling.missing(runs), f"written to {SCALING}/", sep="\n")


def show_region(runs: Sequence[Run], level: Level, note: str) -> list[str]:
    """Write where each side of the question is ahead, and return it as the terminal's lines."""
    places, lines, title = region.places(runs, level), region.lines(runs), scaling.question(runs[0])
    trends = region.trends(lines, level.confidence)
    crossings = [crossing for line in lines for crossing in region.crossings(line, level.confidence)]
    for name, found in (("region", places), ("trends", trends), ("crossings", crossings)):
        if found:
            table = [flat_row(part) for part in found]
            files.write_table(SCALING / f"{name}.csv", list(table[0]), (list(row.values()) for row in table))
    write_figure("region", region_figure.region(places, scaling.sides(runs[0]), f"{title}\n{note}"))
    return [region.render(places, level, title), *region.render_lines(lines, trends, crossings)]


def flat_row(part: Place | Trend | Crossing) -> dict[str, Any]:
    """As a row of a table: a condition and intervals are several columns."""
    values = asdict(part)
    condition = values.pop("condition", None)
    return (condition._asdict() if condition else {}) | flat(values)


EFFECTS = paths.PLOTS / "effects"
DEFAULTS = flat(Settings().model_dump())


def parse_effects(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m src.experiments effects", description="What a setting changed.")
    parser.add_argument("settings", nargs="*", help="in which experiments may differ; all that do by default")
    parser.add_argument("--experiments", nargs="+", default=[], metavar="NAME", help="those of this commit by default")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="whose images count; all, else")
    parser.add_argument("--on", default="val", metavar="|".join(ON), help="images; validation images by default")
    parser.add_argument("--mixed", action="store_true", help=MIXED)
    arguments = parser.parse_args(words)
    if arguments.on not in ON:
        raise UserError(f"--on {arguments.on}: allowed are {', '.join(ON)}")
    return arguments


def differing(settings: Mapping[str, read.Settings], wanted: Sequence[str]) -> list[str]:
    """The settings whose effect is measured: those that were named, or all that differ but the seeds.

    Raises:
        UserError: there is none, it does not exist, or others differ too.
    """
    for name in wanted:
        if name not in DEFAULTS:
            raise UserError(
                f"{name}: no such setting; {did_you_mean(name, DEFAULTS)}`python -m src.settings` prints all"
            )
    if wanted and (why := agree.mixed(settings, ("seeds", *wanted))):
        raise UserError(f"{why}; name that setting too, or choose experiments that agree: --experiments NAME ...")
    names = [key for key in agree.varied(settings, wanted) if key != "seeds"]
    if not names:
        raise UserError(f"these {len(settings)} experiments differ in no setting but the seeds; run some that do")
    return names


def read_groups(arguments: argparse.Namespace) -> tuple[list[Group], float, list[str]]:
    """The experiments grouped by the settings that differ, the group nearest to the defaults first.

    Returns:
        The groups, the confidence of intervals, and what to note beside them.
    """
    comparisons = read.comparisons(arguments.experiments)
    settings = {name: read.settings(name) for name in comparisons}
    if not arguments.experiments and (more := adds(settings)):
        settings = without_commit(settings, f"its {more[0]} is another")
    if arguments.settings and not arguments.experiments:
        chosen = agree.agreeing(settings, ("seeds", *arguments.settings))
        if others := [name for name in settings if name not in chosen]:
            print(f"left out, as other settings differ: {agree.listed(others)}")
        settings = {name: settings[name] for name in chosen}
    keys = differing(settings, arguments.settings)
    require_same_classes({name: comparisons[name].classes for name in settings}, arguments.classes)
    notes = machines({name: comparisons[name] for name in settings}, mixed=arguments.mixed, free=keys)
    grouped: dict[str, tuple[dict[str, Any], list[Run]]] = {}
    for name, values in settings.items():
        run = read.run_of(name, values, comparisons[name])
        part = run.of_classes(labels(arguments.classes, comparisons[name].classes))
        shown = agree.named_by(keys, values)
        grouped.setdefault(repr(shown), (shown, []))[1].append(part)
    groups = [Group(values, pooled_aloud(runs)) for values, runs in grouped.values()]
    confidence = next(iter(settings.values()))["compare.confidence"]
    return effects.order(groups, DEFAULTS), confidence, notes


def adds(settings: Mapping[str, read.Settings]) -> list[str]:
    """The settings that differ for the commit's own result alone, where experiments differ in others."""
    among = agree.varied({name: values for name, values in settings.items() if name != read.HEAD})
    return [key for key in agree.varied(settings) if key not in among] if set(among) - {"seeds"} else []


def require_same_classes(classes: Mapping[str, Sequence[str]], chosen: Sequence[str]) -> None:
    """Require that experiments have the same classes, unless the images of some `chosen` ones alone count.

    Raises:
        UserError: naming two experiments, before their predictions are read.
    """
    (first, names), *others = classes.items()
    for other, theirs in () if chosen else others:
        if list(theirs) != list(names):
            raise UserError(
                f"{first} has {len(names)} classes and {other} {len(theirs)}, or others: they were tested on different "
                "images, so that nothing can be paired; `make scaling` compares class counts; or name the setting to "
                "look at, OF=finetune.lr, or experiments of the same classes, EXPERIMENTS='NAME NAME'"
            )


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
    arguments = parse_effects(words)
    groups, confidence, notes = read_groups(arguments)
    on = ON[arguments.on]
    every = effects.effects(groups, confidence, on)
    note = "; ".join([effects.describe(groups, confidence, on), *notes])
    files.empty_folder(EFFECTS)  # nothing of other experiments may stay
    table = [effect.row() for effect in every]
    files.write_table(EFFECTS / "effects.csv", list(table[0]), (list(row.values()) for row in table))
    if changed := effects.moved(every):
        files.write_figure(EFFECTS / "differences.png", effects.differences(changed, note))
    print(effects.render(every), note, f"written to {EFFECTS}/", sep="\n")


if __name__ == "__main__":
    commands.run("src.experiments", table=table.main, scaling=scaling_main, effects=effects_main, plan=plan.main)
