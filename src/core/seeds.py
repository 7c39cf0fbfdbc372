"""Independent random streams from one seed: for the split, the new head, the order and augmentation of each epoch."""

import zlib

import numpy as np


def derive(seed: int, *key: str | int) -> int:
    """A 63-bit seed for the stream that `key` names, e.g. ``derive(0, "order", epoch)``.

    Streams of different keys are statistically independent, since numpy's SeedSequence hashes its entropy. If one
    consumer draws more numbers, the numbers of the others stay the same. Integers in a key count from 1, because
    SeedSequence pads with zeros: a 0 at the end would give the stream of the shorter key.

    Raises:
        ValueError: the key holds a 0.
    """
    if 0 in key:
        raise ValueError(f"{key}: integers in a key count from 1")
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """The numpy generator of that stream."""
    return np.random.default_rng(derive(seed, *key))
