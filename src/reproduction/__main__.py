"""The report by its own protocol beside its published values, and what each of its choices was worth.

python -m src.reproduction report                        # runs what is missing, and writes docs/report.md
python -m src.reproduction report --from NAME NAME NAME  # draws it from these experiments
python -m src.reproduction ladder -S classes=5           # runs what is missing, and writes docs/ladder.md
"""

from collections.abc import Sequence
from pathlib import Path

from src.core import commands
from src.core.errors import UserError
from src.reproduction import (
    about,
    experiments,
    ladder,
    ladder_figure,
    ladder_page,
    read,
    report,
    report_figures,
    report_page,
    rungs,
)
from src.reproduction.experiments import Experiment
from src.reproduction.published import CURVES, published
from src.reproduction.rungs import Rung
from src.storage import files

DOCS = Path("docs")
IMAGES = DOCS / "images"


def report_main(words: Sequence[str]) -> None:
    """Run the report's protocol for each number of classes, and write its page and pictures."""
    parser = experiments.options("report", "The report's protocol, beside its published values.")
    parser.add_argument("--classes", nargs="+", default=["2", "5", "10"], help="2, 5 and 10, which the report has")
    given = parser.parse_args(words)
    theirs = published()
    for k in given.classes:
        if k not in map(str, theirs.images):
            raise UserError(f"--classes {k}: the report has {', '.join(map(str, theirs.images))} classes")
    common = ("protocol=report", experiments.seeds_option(given.seeds), *given.settings)
    wanted = [(*common, f"classes={k}") for k in given.classes]
    found = experiments.named(given.names) if given.names else experiments.finished(wanted, given.jobs)
    chosen = sorted(((read.run(one), one) for one in found), key=lambda pair: pair[0].k)
    runs = [run for run, _ in chosen]
    require_published(runs)
    confidence = runs[0].settings.compare.confidence
    rows, bars = (table(runs, theirs, confidence) for table in (report.validation_rows, report.bar_rows))
    heads = report.many_heads(*read.base_features(chosen[0][1]), theirs.head, confidence)
    for name, words_in_file in CURVES.items():
        figure = report_figures.curve(name, runs, theirs, confidence)
        files.write_figure(IMAGES / f"report_{words_in_file}.png", figure)
    files.write_figure(IMAGES / "report_bars.png", report_figures.bars(bars, runs, confidence))
    files.write_text(DOCS / "report.md", report_page.page(runs, rows, bars, heads, theirs, confidence))
    print(report_page.answer(rows, bars, confidence), f"written to {DOCS / 'report.md'}", sep="\n")


def require_published(runs: Sequence[report.Run]) -> None:
    """Require runs of class counts that the report has, each once, that agree in everything else.

    Raises:
        UserError: naming the first that does not.
    """
    counts = [run.k for run in runs]
    known = published().images
    for run in runs:
        if run.k not in known or counts.count(run.k) > 1:
            raise UserError(
                f"{run.name}: {run.k} classes; give one experiment for each of {', '.join(map(str, known))}"
            )
        mine, first = (one.settings.model_copy(update={"classes": 2, "seeds": [0]}) for one in (run, runs[0]))
        if experiments.recipe(mine) != experiments.recipe(first):
            raise UserError(
                f"{run.name} and {runs[0].name} differ in more than classes and seeds; run both with the same -S"
            )


def ladder_main(words: Sequence[str]) -> None:
    """Run every rung of the ladder, and write its page and picture."""
    parser = experiments.options("ladder", "What each choice of the report was worth.")
    parser.add_argument("--pixels", type=int, nargs="*", default=[128], help="beyond the fair protocol's; none: none")
    given = parser.parse_args(words)
    common = (experiments.seeds_option(given.seeds), *given.settings)
    steps, undone = rungs.rungs(common), rungs.undone(common)
    more = rungs.beyond(given.pixels, common)
    every = [*steps, *(part for pair in undone for part in (pair.rung, pair.less)), *more]
    found = dict(zip(every, chosen(every, common, given.names, given.jobs), strict=True))
    measured = {rung: read.measured(rung, experiment) for rung, experiment in found.items()}
    last = found[steps[-1]].settings
    result = ladder.ladder(
        [measured[rung] for rung in steps],
        [(measured[pair.rung], measured[pair.less]) for pair in undone],
        [measured[rung] for rung in more],
        last.compare.confidence,
    )
    environments = [one.environment for rung in steps for one in read.trainings(found[rung]).values()]
    n, seeds = len(result.rungs[-1].index), len(last.seeds)
    note = f"{n:,} test images, {seeds} seeds, {100 * result.confidence:g} % intervals"
    figure = ladder_figure.waterfall(result, last.resnet.arch, last.convnext.arch, note)
    files.write_figure(IMAGES / "ladder.png", figure)
    text = ladder_page.page(
        result,
        last,
        environments,
        rests={rung.words: read.incomplete_batch(found[rung]) for rung in steps}
        | {f"{pair.rung.words}, undone": read.incomplete_batch(found[pair.rung]) for pair in undone},
        common=given.settings,
        names=about.names(list(found.values())),
    )
    files.write_text(DOCS / "ladder.md", text)
    print(*ladder_page.sentences(result, last), f"written to {DOCS / 'ladder.md'}", sep="\n")


def chosen(every: Sequence[Rung], common: Sequence[str], names: Sequence[str], jobs: int) -> list[Experiment]:
    """The experiment of each rung, among those that were named or of this commit.

    Raises:
        UserError: none of those that were named has a rung's settings.
    """
    if not names:
        protocols = [(f"protocol={word}", *common) for word in ("report", "fair")]
        return experiments.finished([experiments.shortest(rung.overrides, protocols) for rung in every], jobs)
    given = experiments.named(names)
    result = []
    for rung in every:
        experiment = experiments.matching(rung.overrides, given)
        if experiment is None:
            raise UserError(
                f"--from: no experiment has the settings {' '.join(rung.overrides)}; name one, or leave --from"
            )
        result.append(experiment)
    return result


if __name__ == "__main__":
    commands.run("src.reproduction", report=report_main, ladder=ladder_main)
