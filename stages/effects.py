"""What a setting changed: not a stage, but a reader of finished experiments.

python -m stages.effects                              # of all experiments of the current commit
python -m stages.effects finetune.mix                 # of those that differ in this setting and seeds alone
python -m stages.effects --experiments NAME NAME ...  # or of these
python -m stages.effects --classes horse ship truck   # on the test images of these classes alone
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from src import effects, effects_plots, experiments, files, seeds
from src.effects import Group
from src.errors import UserError, did_you_mean
from src.params import Settings, flat
from src.scaling import Sampling
from stages import one_line

FOLDER = files.PLOTS / "effects"
DEFAULTS = flat(Settings().model_dump())


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.effects", description="What a setting changed.")
    parser.add_argument("settings", nargs="*", help="in which experiments may differ; all that do by default")
    parser.add_argument("--experiments", nargs="+", default=[], metavar="NAME", help="those of this commit by default")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="whose test images count; all, else")
    return parser.parse_args(words)


def differing(settings: Mapping[str, Mapping[str, Any]], wanted: Sequence[str]) -> list[str]:
    """The settings whose effect is asked for: those that were named, or all that differ but the seed.

    Raises:
        UserError: there is none, it does not exist, or others differ too.
    """
    for name in wanted:
        if name not in DEFAULTS:
            raise UserError(f"{name}: no such setting; {did_you_mean(name, DEFAULTS)}`python -m src.params` prints all")
    if wanted and (why := experiments.mixed(settings, ("seed", *wanted))):
        raise UserError(f"{why}; name that setting too, or choose experiments that agree: --experiments NAME ...")
    found = [key for key in experiments.varied(settings) if key != "seed"]
    if not found:
        raise UserError(f"these {len(settings)} experiments differ in no setting but the seed; run some that do")
    return found


def read(arguments: argparse.Namespace) -> tuple[list[Group], Sampling]:
    """The experiments by what differs, first the group that is nearest to the defaults."""
    reports = experiments.reports(arguments.experiments)
    settings = {name: experiments.settings(name) for name in reports}
    if arguments.settings and not arguments.experiments:
        chosen = experiments.agreeing(settings, ("seed", *arguments.settings))
        if others := [name for name in settings if name not in chosen]:
            print(f"left out, as other settings differ: {experiments.listed(others)}")
        settings = {name: settings[name] for name in chosen}
    keys = differing(settings, arguments.settings)
    kept, repeated = experiments.distinct(settings, ("seed", *keys))
    for name, other in repeated:
        print(f"left out: {name} has the settings of {other}")
    groups: dict[str, Group] = {}
    for name in kept:
        values = {key: settings[name][key] for key in keys if key in settings[name]}
        run = experiments.run_of(name, settings[name], reports[name])
        part = effects.only(run, labels(arguments.classes, reports[name]["classes"]))
        groups.setdefault(repr(values), Group(values, {})).runs[run.seed] = part
    confidence, resamples = (settings[kept[0]][f"compare.{key}"] for key in ("confidence", "resamples"))
    return effects.order(groups.values(), DEFAULTS), Sampling(confidence, resamples, seeds.derive(0, "effects"))


def labels(chosen: Sequence[str], names: Sequence[str]) -> list[int]:
    """Those of the chosen classes; of all, where none is chosen.

    Raises:
        UserError: the experiments have no such class.
    """
    for name in chosen:
        if name not in names:
            raise UserError(f"--classes {name}: {did_you_mean(name, names)}the experiments have {', '.join(names)}")
    return [names.index(name) for name in chosen or names]


def main(words: Sequence[str]) -> None:
    groups, sampling = read(parse(words))
    found = effects.effects(groups, sampling)
    note = effects.describe(groups, sampling)
    files.write_folder(FOLDER)  # nothing of other experiments may stay
    rows = [effect.row() for effect in found]
    files.write_table(FOLDER / "effects.csv", list(rows[0]), (list(row.values()) for row in rows))
    if moved := effects.moved(found):
        files.write_figure(FOLDER / "differences.png", effects_plots.differences(moved, note))
    print(effects.render(found), note, f"written to {FOLDER}/", sep="\n")


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
