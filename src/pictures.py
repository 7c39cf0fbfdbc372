"""Files of images -> pixels, whatever their format, size and colours. For `download`."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from src.errors import UserError


def side(files: list[Path], max_side: int) -> int | None:
    """None where all images are squares of one size, else the side in pixels of the squares that they are cut to.

    The median of the shorter sides, so that most images are neither enlarged nor much reduced; at most `max_side`.
    """
    sizes = [_open(path).size for path in files]  # (width, height), from the headers alone
    if len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1] <= max_side:
        return None
    return min(max_side, int(np.median([min(size) for size in sizes])))


def decode(files: list[Path], square: int | None) -> Iterator[np.ndarray]:
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
    try:
        return Image.open(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        reason = "empty file" if path.stat().st_size == 0 else "not an image, or cut short"
        raise UserError(f"folder: {path} cannot be read as an image ({reason}); replace or remove it") from error
