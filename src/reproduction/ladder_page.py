"""docs/ladder.md: what each choice of the report was worth."""

import shlex
from collections.abc import Mapping, Sequence

from src.core.records import Environment
from src.reproduction import about, ladder
from src.reproduction.ladder import Ladder, Worth
from src.settings.settings import Settings
from src.stats.crossed import Crossed

PAGE = """# From the report's protocol to the fair one

After this page you know what each choice of the report was worth. `make ladder` wrote it. Every rung changes one choice
of the report into the fair one, and keeps all changes before it. The last column undoes each choice alone in the fair
protocol. [report.md](report.md) has the report's own values.

{answer}

![Waterfall from the report's protocol to the fair one](images/ladder.png)

## What each choice is worth

{what}

Differences are the fair choice less the report's, in points, paired by seed and test image, with {level:g} % intervals
over both. Each interval is of its own: with so many, some exclude 0 by chance. The lead is the accuracy of the legacy
arm, fine-tuned, less that of the modern arm, frozen.

{table}

{rests}

The first rung is measured as in the report, on augmented test images. Training images are augmented alike on every
rung. A rate is searched among {configurations} configurations on validation images. Where a validation part is undone
from `fair`, the epoch is chosen on test images, and the search and the read-outs keep their validation images; where
augmented test images are, the last epoch of the same networks is measured on both. These settings stay on every rung,
and this command draws the page again:

    python -m src.reproduction ladder --seeds {seeds}{options} --from {names}
"""


def page(
    found: Ladder,
    settings: Settings,
    environments: Sequence[Environment],
    *,
    rests: Mapping[str, int],
    common: Sequence[str],
    names: str,
) -> str:
    """The page's text.

    Args:
        settings: of the last rung.
        rests: how many images the incomplete batch has by rung, those of undone changes too; 0: there is none.
        common: overrides of every rung besides the seeds.
        names: of the experiments.
    """
    return PAGE.format(
        answer="\n".join(about.wrapped(f"- {text}") for text in sentences(found, settings)),
        what=about.wrapped(
            f"{about.arms(settings)} The images are {about.images(settings)}, {len(found.rungs[-1].index):,} of them "
            f"to test, of {_classes(settings)}; {about.seeds(settings)}. Machine: {about.machine(environments)}."
        ),
        level=100 * found.confidence,
        table=_table(found),
        rests=_rests(rests),
        configurations=settings.tune.configurations,
        seeds=" ".join(map(str, settings.seeds)),
        options="".join(f" -S {shlex.quote(about.shown(text))}" for text in common),
        names=names,
    )


def sentences(found: Ladder, settings: Settings) -> list[str]:
    """The three sentences of the answer, see `ladder.sentences`."""
    legacy = f"the fine-tuned {settings.resnet.arch}"
    modern = f"the frozen {settings.convnext.arch} with its read-out {settings.frozen.readouts[0]}"
    return ladder.sentences(found, legacy, modern, settings.compare.margin)


def _rests(rests: Mapping[str, int]) -> str:
    """The sizes of the incomplete batches, since a batch of one or two images can wreck a network."""
    sizes = ", ".join(f"{count} at '{words}'" for words, count in rests.items() if count)
    if not sizes:
        return "No rung has an incomplete batch."
    return about.wrapped(
        f"An epoch ends with an incomplete batch on some rungs: {sizes}. It is a step like any other, by the batch "
        "statistics of so few images."
    )


def _classes(settings: Settings) -> str:
    return f"{settings.classes} classes" if isinstance(settings.classes, int) else ", ".join(settings.classes)


def _table(found: Ladder) -> str:
    (first, last), (first_lead, last_lead) = found.ends("legacy"), found.ends("lead")
    lines = [
        "| choice | legacy arm | lead | undone from fair: legacy arm | undone from fair: lead |",
        "|---|---|---|---|---|",
        f"| the report's protocol | {_level(first)} | {ladder.points(first_lead)} | | |",
        *(_row(worth) for worth in found.worths),
        f"| the fair protocol | {_level(last)} | {ladder.points(last_lead)} | | |",
        *(_row(worth, "beyond fair: ") for worth in found.beyond),
    ]
    return "\n".join(lines)


def _row(worth: Worth, before: str = "") -> str:
    parts = (worth.legacy, worth.lead, worth.undone_legacy, worth.undone_lead)
    cells = ["" if part is None else ladder.points(part) for part in parts]
    return f"| {before}{worth.words} | {' | '.join(cells)} |"


def _level(part: Crossed) -> str:
    return f"{100 * part.value:.1f} [{100 * part.low:.1f}, {100 * part.high:.1f}]"
