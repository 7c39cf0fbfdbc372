"""Nearest neighbours by direction, in blocks."""

import numpy as np

from src.readouts.base import Features, Readout
from src.stats.scores import accuracy

BLOCK = 512  # images whose similarities to all training images are held at once: 100 MB at 50,000 of these


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros, which has no direction, stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def most_similar(x: np.ndarray, train: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (n, k) of the k most similar rows of `train` to each of `x`, the most similar first, and which they are.

    Rows are of length 1. In blocks, so that memory stays bounded, and in float32: scikit-learn's brute force multiplies
    in float64, which takes half as long again.
    """
    cosines, indices = np.empty((len(x), k), np.float32), np.empty((len(x), k), np.int64)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        cosine = x[rows] @ train.T  # (b, N)
        found = np.argpartition(cosine, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(cosine, found, 1), axis=1, kind="stable")
        indices[rows] = np.take_along_axis(found, order, 1)
        cosines[rows] = np.take_along_axis(cosine, indices[rows], 1)
    return cosines, indices


# Of `knn`: the temperature of Wu et al. 2018, the numbers of neighbours that DINO (Caron et al. 2021) tries.
NEIGHBOURS, TEMPERATURE = (10, 20, 100, 200), 0.07


def centroid(features: Features) -> Readout:
    """Nearest class mean: minus the squared Euclidean distance to it, as in Snell et al. 2017 (prototypical networks).

    Features are first centred on the training images' mean and scaled to length 1, SimpleShot's CL2N (Wang et al.
    2019), for what all images share would outweigh what tells them apart.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    mean = features.train.mean(0)
    train, labels = unit(features.train - mean), features.train_labels
    means = np.stack([train[labels == label].mean(0) for label in range(features.classes)])  # (K, D)
    return Readout(
        lambda x: -euclidean_distances(unit(x - mean), means, squared=True).astype(np.float32), len(features.train)
    )


def knn(features: Features) -> Readout:
    """The k training images of most similar direction vote, each by exp(cosine / 0.07) (Wu et al. 2018).

    k is chosen on validation accuracy among 10, 20, 100 and 200, as far as there are so many training images (all of
    them where there are fewer than 10); ties go to the smaller. A logit is the logarithm of a class's votes; a class
    without any has those of one neighbour in the opposite direction, the fewest there can be, so that it is finite.
    """
    train, labels, classes = unit(features.train), features.train_labels, features.classes

    def votes(similar: np.ndarray, voters: np.ndarray) -> np.ndarray:
        cells = np.arange(len(voters))[:, None] * classes + voters  # (n, k), into (n, K)
        total = np.bincount(cells.ravel(), np.exp(similar / TEMPERATURE).ravel(), len(voters) * classes)
        return np.log(np.maximum(total, np.exp(-1 / TEMPERATURE))).reshape(-1, classes).astype(np.float32)

    def search(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similar, nearest = most_similar(unit(x), train, k)
        return similar, labels[nearest]

    tried = [k for k in NEIGHBOURS if k <= len(labels)] or [len(labels)]
    similar, voters = search(features.val, tried[-1])
    val_logits = {k: votes(similar[:, :k], voters[:, :k]) for k in tried}
    best = max(tried, key=lambda k: accuracy(val_logits[k], features.val_labels))  # of equals, the first
    return Readout(
        lambda x: votes(*search(x, best)),
        len(labels) + len(features.val),
        val_logits=val_logits[best],
        chosen={"k": best, "configurations": len(tried)},
    )
