"""The report's FilteredCIFAR10 as indices: chosen classes, labels 0..K-1, stratified validation. For `prepare`."""

from collections.abc import Sequence

import numpy as np

from src.errors import UserError


def subset(
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    chosen: Sequence[int],
    names: Sequence[str],
    *,
    val_fraction: float,
    per_class: int | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Everything that decides which images an experiment sees: for train, val and test, <part>_index and <part>_labels.

    Args:
        train_labels, test_labels: (N,) of all images, the dataset's own.
        chosen: the labels that become 0..K-1.
        names: of the chosen classes.
        val_fraction, per_class, rng: see `split`.

    Raises:
        UserError: a class has too few images.
    """
    train_index, train_labels = relabel(train_labels, chosen)
    test_index, test_labels = relabel(test_labels, chosen)
    require(train_labels, names, 2, "training")
    require(test_labels, names, 1, "test")
    train, val = split(train_labels, val_fraction=val_fraction, per_class=per_class, rng=rng)
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
    labels: np.ndarray, *, val_fraction: float, per_class: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide labelled images into training and validation, class by class (stratified).

    Args:
        labels: (n,) in 0..K-1.
        val_fraction: the share of each class that is held out: rounded, and at least one image.
        per_class: the most images of a class that are kept, before the division.

    Returns:
        Sorted positions into `labels`: training, validation. A class of two images or more is in both.
    """
    train, val = [], []
    for label in range(int(labels.max()) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))[:per_class]
        held_out = min(max(1, round(len(members) * val_fraction)), len(members) - 1)
        val.append(members[:held_out])
        train.append(members[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def few(labels: np.ndarray, shots: int | None, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions of at most `shots` images of each class, drawn at random; of all images for None."""
    if shots is None:
        return np.arange(len(labels))
    classes = range(int(labels.max()) + 1)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:shots] for label in classes]
    return np.sort(np.concatenate(chosen))
