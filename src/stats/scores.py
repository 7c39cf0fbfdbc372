"""Pure functions of (logits, labels): what a model got right."""

from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images (N,) whose largest logit (N, K) is the label's."""
    return float((logits.argmax(1) == labels).mean())


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats: the cross-entropy that training minimises."""
    return float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(K, K) counts: actual class by row, predicted class by column."""
    return confusion_matrix(labels, logits.argmax(1), labels=np.arange(logits.shape[1]))


def per_class(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """Precision, recall (the accuracy on that class's images), F1 and number of images, class by class."""
    columns = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=np.arange(len(classes)), zero_division=0.0
    )
    return [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    ]


def summary(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Everything that metrics/*.json says about one arm's predictions.

    Top-k stands for k = 2 and 5 where K is larger: of K classes, the top K always hold the right one. The table per
    class is a list, because DVC turns every other number of a metrics file into a column of its own. Classes that an
    arm can never predict (logits of -inf for every image) are named, with the accuracy on the images of the others.
    """
    rows = per_class(logits, labels, classes)
    finite = np.maximum(logits, np.finfo(np.float32).min)  # scikit-learn takes no infinities
    top = {
        f"top{k}_accuracy": float(top_k_accuracy_score(labels, finite, k=k, labels=np.arange(len(classes))))
        for k in (2, 5)
        if k < len(classes)
    }
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
