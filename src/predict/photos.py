"""Photos as the experiment's images are seen, and what an arm says of them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from src.core.errors import UserError
from src.data import decode, folders
from src.predict import networks
from src.predict.arm import Arm
from src.settings.settings import Settings

PIECE = 64  # photos whose pixels are in memory together
SIDE = 384  # pixels of the longer side of a photo on the page


@dataclass(frozen=True)
class Answered:
    """A photo, small, and as the network sees it (S, S, 3) uint8; the classes with confidences, the likeliest first."""

    path: Path
    photo: Image.Image
    seen: np.ndarray
    classes: list[tuple[str, float]]


@contextmanager
def _naming() -> Iterator[None]:
    """Faults without the setting `folder`, which `decode` names as it reads the images of a data set."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).removeprefix("folder: ")) from error


def listed(given: Sequence[Path]) -> list[Path]:
    """The files that were named, and those below folders that were, as images of a folder are listed.

    Raises:
        UserError: there are none.
    """
    with _naming():
        # Not Path.is_dir, which raises an error for a name that is too long.
        parts = [folders.below(path) if os.path.isdir(path) else [path] for path in given]  # noqa: PTH112
    if not any(parts):
        raise UserError(f"no images in {', '.join(map(str, given))}; name files or folders of them")
    return [path for part in parts for path in part]


def answered(
    arm: Arm, settings: Settings, photos: Sequence[Path], side: int, left_out: list[str]
) -> Iterator[Answered]:
    """What an arm says of each photo that can be read.

    Args:
        side: of the experiment's images, to which photos are cut as a folder's images are.
        left_out: gets a line for each file that cannot be read as an image.

    Raises:
        UserError: the arm's networks cannot be read.
    """
    accelerator = networks.start(settings)
    read = networks.read(arm, settings, accelerator)
    for piece in decode.cut(photos, PIECE):
        shown = [(path, *pair) for path in piece if (pair := pictures(path, side, left_out))]
        if not shown:
            continue
        seen = np.stack([pixels for *_, pixels in shown])
        rows = arm.probabilities(networks.answer(read, seen, np.arange(len(seen)), accelerator))
        for (path, photo, pixels), row in zip(shown, rows, strict=True):
            best = [(arm.classes[label], float(row[label])) for label in np.argsort(-row, kind="stable")]
            yield Answered(path, photo, pixels, best)


def pictures(path: Path, side: int, left_out: list[str]) -> tuple[Image.Image, np.ndarray] | None:
    """A photo as a small picture, and as one of the experiment's images (side, side, 3) uint8.

    None for a file that cannot be read as an image, of which `left_out` gets a line.
    """
    try:
        with _naming():
            (pixels,) = next(decode.decode_images([path], None))
    except UserError as error:
        left_out.append(str(error))
        return None
    photo = Image.fromarray(pixels)
    seen = np.asarray(decode.to_square(photo, side))
    photo.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return photo, seen
