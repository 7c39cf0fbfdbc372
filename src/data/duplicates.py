"""Images that are in training and in test: found by their pixels; near-duplicates of CIFAR from a published list."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = 3  # pairs that are named
_NEAR = Path(__file__).with_name("cifar_duplicates.csv")


def exact(train: Sequence[bytes], test: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images of equal pixels in training and in test.

    The pixels are those that a network gets, so files of equal bytes are found too, and files of other formats.

    Args:
        train, test: a digest of the pixels of each image.

    Returns:
        The sorted positions of the training images, of the test images, and by training image of the first test image
        that is equal.
    """
    first: dict[bytes, int] = {}
    for position, digest in enumerate(test):
        first.setdefault(digest, position)
    both = first.keys() & set(train)
    copies, copied = (np.flatnonzero([digest in both for digest in part]) for part in (train, test))
    return copies, copied, np.array([first[train[position]] for position in copies.tolist()], np.int64)


def near_duplicates(dataset: str) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR's training and test images that show the same scene or nearly so (ciFAIR, Barz and Denzler 2020).

    Returns:
        The position of each such test image's nearest training image, and the sorted positions of the test images, in
        the order of the archive; empty for any other dataset.
    """
    with _NEAR.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    pairs = [(row["train"], row["test"]) for row in rows if row["dataset"] == dataset.removesuffix("_coarse")]
    train, test = np.array(pairs, np.int64).reshape(-1, 2).T
    return train, test


def find(
    dataset: str, train: Sequence[bytes], test: Sequence[bytes], names: Callable[[str, int], str]
) -> dict[str, Any]:
    """Exact and published duplicates, as data/raw/duplicates.json holds them.

    Args:
        train, test: a digest of the pixels of each image.
        names: the name of the image of a split at a position.

    Returns:
        `train`, `test`: the sorted positions of the images that the other split repeats; `said`: one line for each
        kind of duplicate that there is.
    """
    copies, copied, first = exact(train, test)
    near_train, near_test = near_duplicates(dataset)
    said = []
    if len(copies):
        shown = zip(copies[:SHOWN].tolist(), first[:SHOWN].tolist(), strict=True)
        pairs = ", ".join(f"{names('train', one)} = {names('test', other)}" for one, other in shown)
        more = f", and {len(copies) - SHOWN:,} more" if len(copies) > SHOWN else ""
        said.append(f"training images whose pixels are those of a test image: {len(copies):,} ({pairs}{more})")
    if len(near_test):
        said.append(
            f"test images with a near-duplicate in training: {len(near_test):,} of {len(test):,} "
            "(Barz and Denzler 2020)"
        )
    return {
        "train": np.union1d(copies, near_train).tolist(),
        "test": np.union1d(copied, near_test).tolist(),
        "said": said,
    }
