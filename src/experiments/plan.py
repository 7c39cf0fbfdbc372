"""How many seeds and test images a margin takes, from the parts of the variance in a pilot: a finished comparison.

Pure functions of the parts that `compare` estimated; more seeds and images make each part's share smaller.
"""

import argparse
from collections.abc import Sequence

from scipy import stats

from src.core.errors import UserError
from src.experiments import read
from src.records.compare import Comparison
from src.stats import crossed
from src.stats.crossed import Parts
from src.storage import files, paths

SEEDS = (2, 3, 5, 7, 10, 15, 20, 30, 50)
MOST = 1000  # seeds that are looked through
TIMES = (0.5, 1, 2, 5)  # columns: as many test images as the pilot has, times this


def parts(comparison: Comparison, images: int) -> Parts:
    """The parts of the variance of one run's difference on so many test images.

    Raises:
        UserError: the pilot has one seed, which does not tell how much seeds differ.
    """
    pilot = comparison.primary.parts
    if pilot.seeds is None or pilot.residual is None:
        raise UserError(
            f"the pilot has the seed {comparison.seeds[0]} alone, which does not tell how much seeds differ; run one "
            "with seeds=[0,1,2] or more"
        )
    scale = comparison.n / images
    return Parts(pilot.seeds, pilot.images * scale, pilot.residual * scale, images)


def detectable(part: Parts, seeds: int, confidence: float, power: float) -> float:
    """The smallest true difference that so many seeds find with this probability."""
    se, df = crossed.standard_error(part, seeds)
    return float(crossed.detectable(se, df, confidence=confidence, power=power))


def equivalence(part: Parts, seeds: int, confidence: float, power: float) -> float:
    """The smallest margin within which two equal arms are found equivalent with this probability.

    Two one-sided tests at the level 1 - confidence (Julious 2004, section 5).
    """
    se, df = crossed.standard_error(part, seeds)
    return float((stats.t.ppf(confidence, df) + stats.t.ppf((1 + power) / 2, df)) * se)


def needed(comparison: Comparison, images: int, margin: float, power: float) -> tuple[int | None, int | None]:
    """The fewest seeds that find a difference of `margin`, and those that find equal arms equivalent within it."""
    part = parts(comparison, images)
    found = [
        next((seeds for seeds in range(2, MOST + 1) if size(part, seeds, comparison.confidence, power) <= margin), None)
        for size in (detectable, equivalence)
    ]
    return found[0], found[1]


def render(comparison: Comparison, margin: float, power: float) -> str:
    """For the terminal: the smallest difference by seeds and images, and what the margin takes."""
    columns = [round(comparison.n * times) for times in TIMES]
    pilot = f"{len(comparison.seeds)} seeds and {comparison.n:,} test images"
    lines = [
        f"{comparison.primary.title}, from a pilot of {pilot}",
        f"smallest difference, in points, that is found with a probability of {power:g} "
        f"({100 * comparison.confidence:g}% interval); * at most the margin of {100 * margin:g}",
        "",
        f"{'seeds':>5}" + "".join(f"{f'{images:,} images':>17}" for images in columns),
    ]
    for seeds in SEEDS:
        sizes = [detectable(parts(comparison, images), seeds, comparison.confidence, power) for images in columns]
        cells = (f"{100 * size:.2f}{'*' if size <= margin else ' '}" for size in sizes)
        lines.append(f"{seeds:>5}" + "".join(f"{cell:>17}" for cell in cells))
    lines.append("")
    for images in columns:
        find, same = (
            f"more than {MOST:,}" if count is None else f"{count}"
            for count in needed(comparison, images, margin, power)
        )
        lines.append(
            f"{images:,} test images: {find} seeds to find a difference of {100 * margin:g} points, "
            f"{same} to find equal arms equivalent within it"
        )
    few = len(comparison.seeds) < 5
    return "\n".join(
        [*lines, "The pilot has few seeds: the plan is rough, and a larger pilot mends it."] if few else lines
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m src.experiments plan", description="What a margin takes.")
    parser.add_argument("pilot", nargs="?", help="an experiment; by default what the workspace holds")
    parser.add_argument("--margin", type=float, help="share of the test images; by default the pilot's compare.margin")
    parser.add_argument("--power", type=float, default=0.8, help="probability of finding what there is")
    return parser.parse_args(words)


def pilot(name: str | None) -> Comparison:
    """The comparison of an experiment, or of the workspace.

    Raises:
        UserError: there is none.
    """
    if name is not None:
        return read.comparisons([name])[name]
    path = paths.record("compare")
    if not path.exists():
        raise UserError(
            f"{path} is missing, and no experiment is named: `dvc pull` brings it from a remote, `make repro` makes "
            "it; or plan with PILOT=<experiment>"
        )
    return files.read_record(path, Comparison)


def main(words: Sequence[str]) -> None:
    arguments = parse(words)
    comparison = pilot(arguments.pilot)
    margin = comparison.margin if arguments.margin is None else arguments.margin
    for option, value in (("margin", margin), ("power", arguments.power)):
        if not 0 < value < 1:
            raise UserError(f"--{option} {value:g}: allowed is a number > 0 and < 1")
    print(render(comparison, margin, arguments.power))
