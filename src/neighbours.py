"""Nearest neighbours by direction, in blocks. For the read-out `knn`, and for `ood`."""

import numpy as np

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
