"""Pure functions of (logits, labels): what a model got right."""

from typing import Any

import numpy as np
from scipy.special import log_softmax


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images (N,) whose largest logit (N, K) is the label's."""
    return float((logits.argmax(1) == labels).mean())


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats: the cross-entropy that training minimises."""
    return float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(K, K) counts: actual class by row, predicted class by column."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)


def per_class(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """Precision, recall (the accuracy on that class's images), F1 and number of images, class by class."""
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
    """Everything that metrics/*.json says about one arm's predictions.

    Top-k stands for k = 2 and 5 where K is larger: of K classes, the top K always hold the right one. The table per
    class is a list, because DVC turns every other number of a metrics file into a column of its own. Classes that an
    arm can never predict (logits of -inf for every image) are named, with the accuracy on the images of the others.
    """
    rows = per_class(logits, labels, classes)
    top = {f"top{k}_accuracy": top_k(logits, labels, k) for k in (2, 5) if k < len(classes)}
    never: np.ndarray = (logits == -np.inf).all(0)  # (K,)
    partial: dict[str, Any] = {}
    if never.any():
        kept = ~never[labels]
        partial["unmapped"] = [classes[label] for label in np.flatnonzero(never)]
        partial["mapped"] = {"accuracy": accuracy(logits[kept], labels[kept]), "n": int(kept.sum())}
    return {
        "accuracy": accuracy(logits, labels),
        "n": len(labels),
        **top,
        **partial,
        "macro_f1": float(np.mean([row["f1"] for row in rows])),
        "per_class": rows,
        "confusion": confusion(logits, labels).tolist(),
    }
