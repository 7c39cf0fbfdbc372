"""Scores of classifiers, as pure functions of logits and labels: accuracy, likelihood, F1, confusion."""

from typing import Any

import numpy as np
from scipy.special import log_softmax


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose largest logit (N, K) is that of their label (N,)."""
    return float((logits.argmax(1) == labels).mean())


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood (cross-entropy) in nats of logits (N, K)."""
    return float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The confusion matrix, (K, K) counts: actual class by row, predicted class by column."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)


def per_class(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """For each class: precision, recall (the accuracy on its images), F1 and number of images."""
    counts = confusion(logits, labels)
    right, predicted, actual = counts.diagonal(), counts.sum(0), counts.sum(1)
    shares = (
        right / np.maximum(predicted, 1),
        right / np.maximum(actual, 1),
        2 * right / np.maximum(predicted + actual, 1),
    )
    return [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
        for name, p, r, f, n in zip(classes, *shares, actual, strict=True)
    ]


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The share of images (N,) whose label is among the k largest logits (N, K); of equal logits, the later class."""
    best = np.argsort(logits, axis=1, kind="stable")[:, -k:]
    return float((best == labels[:, None]).any(1).mean())


def summary(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """All scores of one arm for its metrics file.

    Top-k accuracy is given for k = 2 and 5 where k < K. The table of classes is a list, because DVC makes a column of
    every number outside of lists. Classes that an arm can never predict (logits of -inf for every image) are listed
    under `unmapped`; `mapped` has the accuracy on the images of the other classes.
    """
    rows = per_class(logits, labels, classes)
    top = {f"top{k}_accuracy": top_k(logits, labels, k) for k in (2, 5) if k < len(classes)}
    never: np.ndarray = (logits == -np.inf).all(0)  # (K,)
    without: dict[str, Any] = {}
    if never.any():
        mapped = ~never[labels]  # (N,)
        without["unmapped"] = [classes[label] for label in np.flatnonzero(never)]
        without["mapped"] = {"accuracy": accuracy(logits[mapped], labels[mapped]), "n": int(mapped.sum())}
    return {
        "accuracy": accuracy(logits, labels),
        "n": len(labels),
        **top,
        **without,
        "macro_f1": float(np.mean([row["f1"] for row in rows])),
        "per_class": rows,
        "confusion": confusion(logits, labels).tolist(),
    }
