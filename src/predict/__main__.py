"""What an arm of the finished experiment says of one's own photos.

    python -m src.predict photo.jpg more/photos --arm resnet.full
    python -m src.predict photo.jpg --seed 0

A photo is cut and resized as the experiment's images are. The logits of each seed's network are divided by the
temperature that was fitted on its validation images; the softmax of their mean over seeds is what is shown.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from src.core.errors import UserError, one_line
from src.predict import arm as arms
from src.predict.arm import Arm
from src.report import format
from src.settings.settings import load
from src.storage import paths

SHOWN = 3  # classes of a photo that are printed
PAGE = paths.PLOTS / "predict.html"


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line.

    Raises:
        UserError: no image is named.
    """
    parser = argparse.ArgumentParser(prog="python -m src.predict", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="files, or folders of them")
    parser.add_argument("--arm", metavar="NAME", help="such as convnext.linear; the first of the question if not given")
    parser.add_argument("--seed", type=int, help="whose network answers alone; by default all, and their mean counts")
    parser.add_argument("--page", type=Path, default=PAGE, help=f"the picture page; {PAGE} if not given")
    options = parser.parse_args(words)
    if not options.images:
        raise UserError("no images; name files or folders of them: `python -m src.predict photo.jpg`")
    return options


def shown(path: Path | str) -> str:
    """A path, or a line with one, for people; bytes that are not UTF-8, and control characters, are replaced."""
    return format.cut(os.fsencode(path).decode("utf-8", "replace"), format.FULL)


def describe(arm: Arm) -> list[str]:
    """What to know of the confidences, one sentence a line."""
    quality = arm.quality()
    several = len(arm.seeds) > 1
    seeds = (
        f"seeds {', '.join(map(str, arm.seeds))} together (the mean of their logits)"
        if several
        else f"seed {arm.seeds[0]}"
    )
    fitted = ", ".join(f"{t:.2f}" for t in arm.temperatures)
    unhelped = " (1 where none helped)" if 1 in arm.temperatures else ""
    calibrated = any(t != 1 for t in arm.temperatures)
    how = (
        f"calibrated by temperature{'s' if several else ''} {fitted}, fitted on validation images{unhelped}"
        if calibrated
        else "as the network gives them (temperature 1, as none was fitted or helped on validation images)"
    )
    share = f"{format.percent(quality.accuracy.value)} {format.interval(quality.accuracy)}"
    off = f"{100 * quality.ece:.1f} points (ECE)"
    return [
        f"The confidences are those of {seeds}, {how}.",
        f"Such answers are right on {share} of the {quality.n:,} test images; the confidence is off by {off}.",
        f"A photo of something else also gets one of the {len(arm.classes)} classes.",
    ]


def main(words: Sequence[str]) -> None:
    """Print what an arm says of photos, and write a page of them.

    Raises:
        UserError: something is missing; or, after all others were answered, files that are no images.
    """
    options = parse(words)
    settings = load()
    arm = arms.find(options.arm, [] if options.seed is None else [options.seed])
    side = arms.side()
    from src.predict import page, photos  # PyTorch takes seconds to import

    given = photos.listed(options.images)
    print(f"{arm.name}: {arm.title}, {len(arm.classes)} classes", flush=True)
    rows, left_out = [], list[str]()
    names = {path: shown(path) for path in given}
    width = min(48, max(map(len, names.values())))
    for answered in photos.answered(arm, settings, given, side, left_out):
        best = ", ".join(f"{format.cut(name)} ({format.percent(p, 0)})" for name, p in answered.classes[:SHOWN])
        print(f"{names[answered.path]:{width}}  {best}", flush=True)
        rows.append(page.row(names[answered.path], answered))
    if rows:
        sentences = describe(arm)
        page.write(options.page, arm, rows, [*sentences, *(f"Left out: {shown(line)}." for line in left_out)])
        print(*sentences, f"{options.page}: open it in a browser", sep="\n")
    if left_out:
        where = f"; {options.page} names all" if rows and left_out[1:] else ""
        raise UserError(f"{len(left_out)} of {len(given)} files were left out: {left_out[0]}{where}")


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
