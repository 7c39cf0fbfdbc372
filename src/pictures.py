"""Files of images -> pixels, whatever their format, size and colours. For `download`."""

import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from src.errors import UserError

PIXELS = 2**26  # of one image at most: 8,192 x 8,192, some 200 MB in memory


def sizes(files: Iterable[Path]) -> np.ndarray:
    """Width and height of each, (n, 2) int32, from the headers alone."""
    return np.array([_open(path).size for path in files], np.int32).reshape(-1, 2)


def side(sizes: np.ndarray, max_side: int) -> int | None:
    """None where all images are squares of one size, else the side in pixels of the squares that they are cut to.

    The median of the shorter sides, so that most images are neither enlarged nor much reduced; at most `max_side`.

    Args:
        sizes: (N, 2), see `sizes`.
    """
    if (sizes == sizes[0, 0]).all() and sizes[0, 0] <= max_side:
        return None
    return min(max_side, int(np.median(sizes.min(axis=1))))


def decode(files: Iterable[Path], square: int | None) -> Iterator[np.ndarray]:
    """The images one by one, (1, H, W, 3) uint8: upright, RGB, and with `square` reduced and cut to that side."""
    for path in files:
        image = _open(path)
        try:
            upright = _to_rgb(ImageOps.exif_transpose(image))
        except (OSError, ValueError, SyntaxError, TypeError, struct.error) as error:
            raise UserError(f"folder: {path} cannot be read as an image ({error}); replace or remove it") from error
        if square is not None:
            upright = ImageOps.fit(upright, (square, square), Image.Resampling.BICUBIC)
        yield np.asarray(upright)[None]  # (1, H, W, 3)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greys, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _open(path: Path) -> Image.Image:
    """An image of which only the header was read.

    Raises:
        UserError: it is no image, or larger than allowed: a small file can hold a picture that fills the memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            image = Image.open(path)
    except Image.DecompressionBombError:
        raise UserError(f"folder: {path} has far more than {PIXELS:,} pixels; reduce or remove it") from None
    except (OSError, ValueError, SyntaxError) as error:
        known = getattr(error, "strerror", None) or ("empty file" if path.stat().st_size == 0 else None)
        reason = known or "not an image, or cut short"
        raise UserError(f"folder: {path} cannot be read as an image ({reason}); replace or remove it") from error
    if image.width * image.height > PIXELS:
        raise UserError(
            f"folder: {path} is {image.width} x {image.height} pixels; allowed are {PIXELS:,}; reduce or remove it"
        )
    return image
