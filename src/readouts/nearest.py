"""The read-outs `centroid` and `knn`, which compare the directions of features."""

import numpy as np

from src.readouts.base import Features, Readout
from src.stats.scores import accuracy

BLOCK = 512  # images whose similarities to all training images are in memory at once: 100 MB for 50,000 of these
# Of `knn`: the numbers of neighbours in DINO (Caron et al. 2021), first the one that it recommends, and the temperature
# of Wu et al. 2018.
NEIGHBOURS, TEMPERATURE = (20, 10, 100, 200), 0.07


def unit(x: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def most_similar(x: np.ndarray, train: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `train` most similar to each row of `x`: their cosines (n, k), highest first, and indices (n, k).

    All rows have length 1. Computed in blocks to bound memory, and in float32: scikit-learn's brute force multiplies in
    float64, which takes 1.5 times as long.
    """
    cosines, indices = np.empty((len(x), k), np.float32), np.empty((len(x), k), np.int64)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        cosine = x[rows] @ train.T  # (b, N)
        top = np.argpartition(cosine, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(cosine, top, 1), axis=1, kind="stable")
        indices[rows] = np.take_along_axis(top, order, 1)
        cosines[rows] = np.take_along_axis(cosine, indices[rows], 1)
    return cosines, indices


def centroid(features: Features) -> Readout:
    """Nearest class mean: logits are minus the squared Euclidean distances (prototypical networks, Snell et al. 2017).

    Features are first centred on the mean of the training images and scaled to length 1 (CL2N of SimpleShot, Wang et
    al. 2019); otherwise what all images have in common outweighs the differences between classes.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    mean = features.train.mean(0)
    train, labels = unit(features.train - mean), features.train_labels
    means = np.stack([train[labels == label].mean(0) for label in range(features.classes)])  # (K, D)
    return Readout(
        lambda x: -euclidean_distances(unit(x - mean), means, squared=True).astype(np.float32),
        len(train),
        fit_macs=train.size,  # each feature is added once
    )


def knn(features: Features, configurations: int) -> Readout:
    """The k nearest training images by cosine vote with weight exp(cosine / 0.07) (Wu et al. 2018).

    k is 20, or of 10, 20, 100 and 200 as many as there are configurations, chosen by validation accuracy; of equals,
    the smallest wins. With fewer training images than any of them, all vote. A logit is the logarithm of the votes of a
    class. It has at least the vote of one neighbour in the opposite direction, so that it is finite.
    """
    train, labels, classes = unit(features.train), features.train_labels, features.classes

    def votes(similar: np.ndarray, voters: np.ndarray) -> np.ndarray:
        cells = np.arange(len(voters))[:, None] * classes + voters  # (n, k), into (n, K)
        total = np.bincount(cells.ravel(), np.exp(similar / TEMPERATURE).ravel(), len(voters) * classes)
        return np.log(np.maximum(total, np.exp(-1 / TEMPERATURE))).reshape(-1, classes).astype(np.float32)

    def search(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similar, nearest = most_similar(unit(x), train, k)
        return similar, labels[nearest]

    candidates = sorted([k for k in NEIGHBOURS if k <= len(labels)][:configurations]) or [len(labels)]
    if len(candidates) == 1:  # no choice is left to validation images
        only = candidates[0]
        return Readout(lambda x: votes(*search(x, only)), len(labels), chosen={"k": only, "configurations": 1})
    similar, voters = search(features.val, candidates[-1])
    val_logits = {k: votes(similar[:, :k], voters[:, :k]) for k in candidates}
    reached = [accuracy(logits, features.val_labels) for logits in val_logits.values()]
    best = candidates[int(np.argmax(reached))]  # of equals, the first
    return Readout(
        lambda x: votes(*search(x, best)),
        len(labels) + len(features.val),
        val_logits=val_logits[best],
        chosen={
            "k": best,
            "configurations": len(candidates),
            "tried": [float(k) for k in candidates],
            "tried_accuracies": reached,
        },
        fit_macs=len(features.val) * train.size,  # a cosine of every pair
    )
