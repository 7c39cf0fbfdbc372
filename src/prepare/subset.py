"""The report's FilteredCIFAR10 as indices: chosen classes, labels 0..K-1, stratified validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.core.errors import UserError


def subset(
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    chosen: Sequence[int],
    names: Sequence[str],
    **how: Any,
) -> dict[str, np.ndarray]:
    """Everything that decides which images an experiment sees: for train, val and test, <part>_index and <part>_labels.

    Args:
        train_labels, test_labels: (N,) of all images, the dataset's own.
        chosen: the labels that become 0..K-1.
        names: of the chosen classes.
        how: see `split`.

    Raises:
        UserError: a class has too few images, or would have none to train on.
    """
    train_index, train_labels = relabel(train_labels, chosen)
    test_index, test_labels = relabel(test_labels, chosen)
    require(train_labels, names, 2, "training")
    require(test_labels, names, 1, "test")
    train, val = split(train_labels, **how)
    return {
        "train_index": train_index[train],
        "train_labels": train_labels[train],
        "val_index": train_index[val],
        "val_labels": train_labels[val],
        "test_index": test_index,
        "test_labels": test_labels,
    }


def relabel(labels: np.ndarray, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Keep the chosen classes: the indices (n,) of their images, and their new labels (n,) in 0..K-1."""
    new = np.full(int(labels.max(initial=0)) + 1, -1, np.int64)
    new[np.asarray(chosen)] = np.arange(len(chosen))
    index = np.flatnonzero(new[labels] >= 0)
    return index, new[labels[index]]


def require(labels: np.ndarray, classes: Sequence[str], least: int, kind: str) -> None:
    """Refuse a subset in which a class has fewer than `least` images.

    Raises:
        UserError: naming the first such class.
    """
    for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True):
        if count < least:
            raise UserError(f"classes: {name!r} has {count} {kind} images; at least {least} are needed")


def split(
    labels: np.ndarray,
    *,
    val_fraction: float,
    per_class: int | None,
    imbalance: str = "none",
    imbalance_ratio: float = 1,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide labelled images into training and validation, class by class (stratified), and thin out the former.

    The validation images are those that there would be without an imbalance: as many of each class as of any other, as
    in the test set, so that accuracy on them chooses what it is to choose. Training images of a larger ratio are among
    those of a smaller one.

    Args:
        labels: (n,) in 0..K-1.
        val_fraction: the share of each class that is held out: rounded, and at least one image.
        per_class: the most images of a class that are kept, before the division.
        imbalance, imbalance_ratio: see `profile`; it starts from the largest class's training images.

    Returns:
        Sorted positions into `labels`: training, validation. A class of two images or more is in both.

    Raises:
        UserError: no training image of the smallest class would be left.
    """
    train, val = [], []
    for label in range(int(labels.max()) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))[:per_class]
        held_out = min(max(1, round(len(members) * val_fraction)), len(members) - 1)
        val.append(members[:held_out])
        train.append(members[held_out:])
    if imbalance != "none":
        train = thinned(train, imbalance, imbalance_ratio)
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def thinned(train: list[np.ndarray], imbalance: str, ratio: float) -> list[np.ndarray]:
    """The first images of each class, which are in random order, as many as `profile` allows.

    Raises:
        UserError: no image of the smallest class would be left.
    """
    largest = max(map(len, train))
    if ratio > largest:
        raise UserError(
            f"prepare.imbalance_ratio = {ratio:g}: no training image of the smallest class would be left; allowed here "
            f"is at most {largest}, the training images of the largest"
        )
    counts = profile(imbalance, ratio, largest, len(train))
    return [members[:count] for members, count in zip(train, counts, strict=True)]


def profile(imbalance: str, ratio: float, largest: int, classes: int) -> list[int]:
    """How many training images each of the K classes has at most, the first ones the most.

    `long_tailed`: n_k = largest * ratio^(-k / (K - 1)), as in Cui et al. 2019; `step`: the last half of the classes
    has largest / ratio, as in Buda et al. 2018. Both are rounded down, as Cao et al. 2019 do.
    """
    if imbalance == "long_tailed":
        shares = [ratio ** (-label / (classes - 1)) for label in range(classes)]
    else:
        shares = [1 / ratio if label >= classes - classes // 2 else 1.0 for label in range(classes)]
    return [int(largest * share + 1e-9) for share in shares]  # 500 * 0.1 may come out as 49.999...
