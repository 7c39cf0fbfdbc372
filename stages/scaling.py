"""Every arm as classes are added: not a stage, but a reader of finished experiments.

python -m stages.scaling                   # all experiments of the current commit
python -m stages.scaling NAME NAME ...     # or these; any Git revision with results will do
"""

import sys
from collections.abc import Sequence
from dataclasses import fields

import matplotlib
from matplotlib.figure import Figure

from src import experiments, files, scaling, scaling_plots, scaling_text, seeds
from src.errors import UserError
from src.scaling import Point, Run, Sampling
from stages import one_line

FOLDER = files.PLOTS / "scaling"


def read(chosen: Sequence[str]) -> tuple[list[Run], Sampling]:
    """The runs that were named, or those of the current commit; they must differ in nothing but classes and seeds."""
    reports = experiments.reports(chosen)
    settings = {name: experiments.settings(name) for name in reports}
    if why := experiments.mixed(settings):
        raise UserError(f"{why}; choose runs that agree: python -m stages.scaling NAME ...")
    devices = dict.fromkeys(str(values.get("device")) for values in settings.values())
    if len(devices) > 1:
        print(f"device differs ({', '.join(devices)}): the times do not compare")
    kept, repeated = experiments.distinct(settings)
    for name, other in repeated:
        print(f"left out: {name} has the classes and seeds of {other}")
    confidence, resamples = (settings[kept[0]][f"compare.{key}"] for key in ("confidence", "resamples"))
    runs = [experiments.run_of(name, settings[name], reports[name]) for name in kept]
    return runs, Sampling(confidence, resamples, seeds.derive(0, "scaling"))


def write_points(name: str, points: Sequence[Point]) -> None:
    rows = ([getattr(point, field.name) for field in fields(Point)] for point in points)
    files.write_table(FOLDER / f"{name}.csv", [field.name for field in fields(Point)], rows)


def write_figure(name: str, figure: Figure) -> None:
    """PNG, and SVG without the date and the random ids that would change its bytes."""
    files.write_figure(FOLDER / f"{name}.png", figure)
    with (
        files.replacing(FOLDER / f"{name}.svg") as temporary,
        matplotlib.rc_context({"svg.hashsalt": name}),
    ):
        figure.savefig(temporary, metadata={"Date": None, "Creator": None})


def main(chosen: Sequence[str]) -> None:
    runs, sampling = read(chosen)
    points = {
        "accuracy": scaling.accuracy(runs, sampling),
        "gap": scaling.gaps(runs, sampling),
        "base_classes": scaling.base_classes(runs, sampling),
    }
    costs = scaling.compute(runs)
    note = scaling_text.describe(runs, sampling)
    files.write_folder(FOLDER)  # no picture of other experiments may stay
    for name, part in points.items():
        write_points(name, part)
    files.write_table(FOLDER / "compute.csv", list(costs[0]), (list(row.values()) for row in costs))
    write_figure("accuracy", scaling_plots.accuracy(points["accuracy"], note))
    write_figure("gap", scaling_plots.gap(points["gap"], note))
    write_figure("compute", scaling_plots.compute(costs, note))
    if points["base_classes"]:
        write_figure("base_classes", scaling_plots.base_classes(points["base_classes"], runs[0].base_classes, note))
    print(scaling_text.render(points["accuracy"], points["gap"]))
    print(note, *scaling_text.missing(runs), f"written to {FOLDER}/", sep="\n")


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
