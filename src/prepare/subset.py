"""Choose the images of an experiment: classes relabelled to 0..K-1, a stratified validation split, imbalance.

The subset is stored as indices into all images; it is what the report's text calls FilteredCIFAR10.
"""

from collections.abc import Sequence

import numpy as np

from src.core.errors import UserError
from src.prepare.config import Prepare


def choose_images(
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    chosen: Sequence[int],
    names: Sequence[str],
    config: Prepare,
    rng: np.random.Generator,
    without: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """The images of the parts train, val and test: the arrays <part>_index and <part>_labels, (n,) each.

    Args:
        train_labels, test_labels: (N,) the dataset's labels of all images.
        chosen: the labels that become 0..K-1.
        names: of the chosen classes.
        without: positions of training images that are left out.

    Raises:
        UserError: a class has too few images, or would have no training image.
    """
    train_index, train_labels = relabel(train_labels, chosen)
    kept = ~np.isin(train_index, without)
    train_index, train_labels = train_index[kept], train_labels[kept]
    test_index, test_labels = relabel(test_labels, chosen)
    require(train_labels, names, 2, "training")
    require(test_labels, names, 1, "test")
    train, val = split(train_labels, config, rng)
    return {
        "train_index": train_index[train],
        "train_labels": train_labels[train],
        "val_index": train_index[val],
        "val_labels": train_labels[val],
        "test_index": test_index,
        "test_labels": test_labels,
    }


def relabel(labels: np.ndarray, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The indices (n,) of the images of the chosen classes, and their new labels (n,) in 0..K-1."""
    new = np.full(int(labels.max(initial=0)) + 1, -1, np.int64)
    new[np.asarray(chosen)] = np.arange(len(chosen))
    index = np.flatnonzero(new[labels] >= 0)
    return index, new[labels[index]]


def require(labels: np.ndarray, classes: Sequence[str], least: int, kind: str) -> None:
    """Require at least `least` images of each class.

    Raises:
        UserError: it names the first class with fewer.
    """
    for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True):
        if count < least:
            raise UserError(f"classes: {name!r} has {count} {kind} images; at least {least} are needed")


def split(labels: np.ndarray, config: Prepare, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split labels (n,) in 0..K-1 into training and validation by class, then make the training images imbalanced.

    Of each class at most `per_class` images are used, of which the share `val_fraction`, rounded and at least one
    image, is held out; with 0 none is. `shots` are then so many of the training images, and at most as many of the
    others. An imbalance does not change the validation images: they stay balanced like the test images,
    so that accuracy on them is the right criterion. The training images of a larger ratio are among those of a
    smaller one.

    Returns:
        Sorted positions in `labels`: training, validation. A class of two images or more is in both.

    Raises:
        UserError: a class has fewer training images than `shots`, or the smallest one would have none.
    """
    train, val = [], []
    for label in range(int(labels.max()) + 1):
        most = None if config.per_class == "all" else config.per_class
        members = rng.permutation(np.flatnonzero(labels == label))[:most]
        held_out = min(max(1, round(len(members) * config.val_fraction)), len(members) - 1)
        held_out = held_out if config.val_fraction else 0
        val.append(members[:held_out][: config.shots])
        train.append(members[held_out:][: config.shots])
    if config.shots and (fewest := min(map(len, train))) < config.shots:
        raise UserError(
            f"prepare.shots = {config.shots}: a class has {fewest} training images; allowed here is at most {fewest}"
        )
    if config.imbalance != "none":
        train = thin_out(train, config.imbalance, config.imbalance_ratio)
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def thin_out(train: list[np.ndarray], imbalance: str, ratio: float) -> list[np.ndarray]:
    """The first images of each class, which are in random order, as many as `class_sizes` allows.

    Raises:
        UserError: the smallest class would have no image.
    """
    largest = max(map(len, train))
    if ratio > largest:
        raise UserError(
            f"prepare.imbalance_ratio = {ratio:g}: no training image of the smallest class would be left; allowed here "
            f"is at most {largest}, the training images of the largest"
        )
    counts = class_sizes(imbalance, ratio, largest, len(train))
    return [members[:count] for members, count in zip(train, counts, strict=True)]


def class_sizes(imbalance: str, ratio: float, largest: int, classes: int) -> list[int]:
    """The number of training images of each of K classes under an imbalance, the largest classes first.

    `long_tailed`: n_k = largest * ratio^(-k / (K - 1)), as in Cui et al. 2019; `step`: the last half of the classes
    has largest / ratio, as in Buda et al. 2018. Both are rounded down, as in Cao et al. 2019.
    """
    if imbalance == "long_tailed":
        shares = [ratio ** (-label / (classes - 1)) for label in range(classes)]
    else:
        shares = [1 / ratio if label >= classes - classes // 2 else 1.0 for label in range(classes)]
    return [int(largest * share + 1e-9) for share in shares]  # 500 * 0.1 may come out as 49.999...
