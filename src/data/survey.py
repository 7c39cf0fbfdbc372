"""One pass over the stored images of a split: their checksums, which are equal, and which have one colour only."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.storage import files, raw

BLOCK = 256  # images that are looked at together


@dataclass(frozen=True)
class Survey:
    """By image: a digest (16 bytes) of its pixels, and whether all of these have one colour (N,)."""

    digests: list[bytes]
    one_colour: np.ndarray


def survey(path: Path) -> Survey:
    """Look at all images (N, H, W, 3) uint8 of a .npy file, and write their checksums beside it."""
    images = files.read_array(path)
    checksums: list[int] = []
    digests: list[bytes] = []
    one_colour = np.empty(len(images), bool)
    for start in range(0, len(images), BLOCK):
        block = np.array(images[start : start + BLOCK])  # (b, H, W, 3)
        checksums += [raw.checksum(image.data) for image in block]
        digests += [hashlib.blake2b(image, digest_size=16).digest() for image in block]
        one_colour[start : start + BLOCK] = (block == block[:, :1, :1]).all((1, 2, 3))
    raw.write_checksums(path, checksums)
    return Survey(digests, one_colour)
