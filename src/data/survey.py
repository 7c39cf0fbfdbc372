"""One pass over the stored images of a split: their checksums, which are equal, and which have one colour only."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.storage import files, raw

MANY = 0.1  # share of a class's images
SHOWN = 3  # images or classes that are named


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
    for start in range(0, len(images), raw.BLOCK):
        block = np.array(images[start : start + raw.BLOCK])  # (b, H, W, 3)
        checksums += [raw.checksum(image.data) for image in block]
        digests += [hashlib.blake2b(image, digest_size=16).digest() for image in block]
        one_colour[start : start + raw.BLOCK] = (block == block[:, :1, :1]).all((1, 2, 3))
    raw.write_checksums(path, checksums)
    return Survey(digests, one_colour)


def plain_classes(split: str, one_colour: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    """A line that names the classes of which many images have one colour only, such as black ink on a black ground."""
    plain, every = (np.bincount(part, minlength=len(classes)) for part in (labels[one_colour], labels))
    found = np.flatnonzero(plain > MANY * every).tolist()
    named = [f"{classes[label]!r} {plain[label]:,} of {every[label]:,}" for label in found]
    return [f"{split}: images of one colour only, which show nothing: {_some(named)}"] if named else []


def repeats(split: str, digests: Sequence[bytes], labels: np.ndarray, names: Callable[[str, int], str]) -> list[str]:
    """Lines on images of a split that have the pixels of an earlier one: of their class, or of another class.

    Args:
        names: the name of the image of a split at a position.
    """
    first: dict[bytes, int] = {}
    own, other = list[str](), list[str]()
    for position, digest in enumerate(digests):
        if (earlier := first.setdefault(digest, position)) != position:
            pairs = own if labels[earlier] == labels[position] else other
            pairs.append(f"{names(split, earlier)} = {names(split, position)}")
    kinds = (("another image of their class", own), ("an image of another class", other))
    return [
        f"{split}: images with the pixels of {kind}: {len(pairs):,} ({_some(pairs)})" for kind, pairs in kinds if pairs
    ]


def _some(items: Sequence[str]) -> str:
    more = f", and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more
