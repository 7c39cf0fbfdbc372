"""Right answers, their shares with Wilson's interval, and Holm's adjustment; see `crossed` for several seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from src.core.records import Interval

# The effects of the 2 x 2 table as weighted sums of its cells' accuracies; a main effect is a mean of two simple ones.
EFFECTS: dict[str, dict[str, float]] = {
    "backbone": {
        "convnext.frozen": 0.5,
        "resnet.frozen": -0.5,
        "convnext.finetuned": 0.5,
        "resnet.finetuned": -0.5,
    },
    "finetuning": {
        "convnext.finetuned": 0.5,
        "convnext.frozen": -0.5,
        "resnet.finetuned": 0.5,
        "resnet.frozen": -0.5,
    },
    "interaction": {
        "convnext.finetuned": 1,
        "convnext.frozen": -1,
        "resnet.finetuned": -1,
        "resnet.frozen": 1,
    },
}


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which predictions are right, (..., N): the largest logit (..., N, K) is the label's (N,).

    A row of -inf predicts nothing.
    """
    return (logits.argmax(-1) == labels) & (logits.max(-1) > -np.inf)


def share(right: np.ndarray, confidence: float) -> Interval:
    """The share of `right` (n,) bool that is true, with its Wilson score interval (Wilson 1927)."""
    bounds = stats.binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
    return Interval(float(right.mean()), float(bounds.low), float(bounds.high))


def recall(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The accuracy on the images of each class, (K,), of logits (..., N, K); every class has images."""
    right = correct(logits, labels)
    return np.array([right[..., labels == label].mean() for label in range(logits.shape[-1])])


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm's method (1979): the smallest times m, the next times m - 1, never below one before."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, position in enumerate(sorted(range(len(p)), key=lambda position: p[position])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[position]))
        adjusted[position] = largest
    return adjusted
