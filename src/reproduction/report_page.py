"""docs/report.md: the report's published values beside our runs."""

from collections.abc import Sequence

from src.reproduction import about
from src.reproduction.prediction import simultaneous
from src.reproduction.published import BAR_IMAGES, Published
from src.reproduction.report import Heads, Row, Run, outside

PAGE = """# The report, reproduced

After this page you know which of the report's values come out again. `make report` wrote it, from the experiments named
at its end. It runs the report's protocol as its figures were made (`protocol: report`, see [settings.md](settings.md))
and puts what was published beside what comes out.

{what}

{answer}

## Validation accuracy

{level}

{validation}

{pictures}

## The bar chart

{bar}

{bars}

![Accuracy on the first two classes](images/report_bars.png)

{heads}

## How the band is made

{formula}

{source}

    python -m src.reproduction report --from {names}
"""

TESTED = (
    "All networks are tested on the plain test images of the first two classes, by the largest of all their outputs."
)

FORMULA = """With S runs of mean m and standard deviation s over seeds, one further run with another seed, on as many
other test images, falls into m ± t √(s² (1 + 1/S) + 2w). w is the variance that the choice of test images gives to a
mean which runs share (analysis of variance of seeds and images); t is Student's, with Satterthwaite's degrees of
freedom. Predictions are saved after the last epoch: earlier accuracies a have w in proportion to a (1 - a), earlier
losses have the same w. Curves of training images have none. For a further run on the same test images w is left out;
that band holds {same} of the {count} accuracies at once."""


def page(
    runs: Sequence[Run],
    rows: Sequence[Row],
    bars: Sequence[Row],
    heads: Heads,
    published: Published,
    confidence: float,
) -> str:
    """The page's text."""
    level = 100 * confidence
    return PAGE.format(
        what=about.wrapped(_what(runs)),
        answer=about.wrapped(f"**{answer(rows, bars, confidence)}**"),
        level=about.wrapped(
            "The report measured augmented test images after every epoch. "
            f"The bands of all {len(rows)} hold at once with {level:g} % (Bonferroni: each with "
            f"{100 * simultaneous(confidence, len(rows)):.2f} %); one by one, at {level:g} % each, "
            f"{sum(row.one.holds(row.published) for row in rows)} are inside."
        ),
        validation=_table(rows, "classes, after"),
        pictures="\n".join(
            f"![{words} by epoch](images/report_{name}.png)"
            for name, words in (
                ("validation_accuracy", "Validation accuracy"),
                ("validation_loss", "Validation loss"),
                ("train_accuracy", "Training accuracy"),
                ("train_loss", "Training loss"),
            )
        ),
        bar=about.wrapped(f"{TESTED} The bands of all {len(bars)} hold at once with {level:g} %."),
        bars=_table(bars, "network"),
        heads=about.wrapped(_heads(runs[0], heads, confidence)),
        formula=FORMULA.format(same=sum(row.same_images.holds(row.published) for row in rows), count=len(rows)),
        source=about.wrapped(f"Published values: {published.source}."),
        names=" ".join(run.name for run in runs),
    )


def _what(runs: Sequence[Run]) -> str:
    settings = runs[0].settings
    counts = ", ".join(f"{run.right.shape[1]:,} at {run.k}" for run in runs)
    seeds = {run.k: about.seeds(run.settings) for run in runs}
    each = "; ".join(f"{words} at {k} classes" for k, words in seeds.items())
    over = each if len(set(seeds.values())) > 1 else next(iter(seeds.values()))
    return (
        f"{about.arms(settings)} The images are {about.images(settings)}; test images: {counts} classes, "
        f"{runs[0].bar.shape[1]:,} in the bar chart. Means and standard deviations are over {over}. "
        f"Machine: {about.machine([run.environment for run in runs])}."
    )


def answer(rows: Sequence[Row], bars: Sequence[Row], confidence: float) -> str:
    """How many published values are inside, and which are not."""
    parts = []
    for table, words in ((rows, "validation accuracies"), (bars, "bars")):
        out = outside(table)
        lie = f"; outside: {'; '.join(out)}" if out else ""
        parts.append(f"{len(table) - len(out)} of {len(table)} published {words} lie inside the band of our runs{lie}")
    return f"{'. '.join(parts)} ({100 * confidence:g} % for each table as a whole)."


def _table(rows: Sequence[Row], first: str) -> str:
    lines = [
        f"| {first} | published | our mean | sd | band of one further run | band, all at once | published is |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = f"{row.k}, {row.name}" if row.name.startswith("epoch") else row.name
        lines.append(
            f"| {name} | {row.published:.4f} | {row.all.mean:.4f} | {row.all.sd:.4f} "
            f"| {row.one.low:.4f} to {row.one.high:.4f} | {row.all.low:.4f} to {row.all.high:.4f} "
            f"| {'inside' if row.inside else '**outside**'} |"
        )
    return "\n".join(lines)


def _heads(run: Run, heads: Heads, confidence: float) -> str:
    share = heads.share
    return (
        f"Of {heads.count:,} untrained heads on `{run.settings.convnext.arch}`'s features of these images, drawn as "
        f"PyTorch initialises a linear layer, {heads.reached} reach the published {heads.needed:,} of {heads.images:,} "
        f"right: {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]. {100 * confidence:g} % of the heads get "
        f"{heads.low:,.0f} to {heads.high:,.0f} right."
        + ("" if heads.images == BAR_IMAGES else f" The report tested {BAR_IMAGES:,} images; the same share is needed.")
    )
