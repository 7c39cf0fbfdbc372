"""Calibration, as pure functions of logits and labels: is a prediction of confidence 0.8 right 8 times in 10?

Classes that an arm can never predict have logits of -inf for every image. They and their images are left out here,
because one true class of probability 0 makes the negative log-likelihood infinite.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from src.stats import scores

BINS = 15  # as in Guo et al. 2017
# Bounds of T: wide enough for logits that are cosines (T near 0.01) or distances; chance ends at the upper bound.
BOUNDS = (1e-3, 1e3)


@dataclass(frozen=True)
class Reliability:
    """For each bin of confidence, (bins,): the number of images, their mean confidence and accuracy; 0 if empty."""

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    def ece(self) -> float:
        """Expected calibration error (Guo et al. 2017): |confidence - accuracy| of the bins, averaged over images."""
        return float((self.count * np.abs(self.confidence - self.accuracy)).sum() / self.count.sum())


def possible(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, k) and labels (n,) without the classes whose logit is -inf for every image, and their images."""
    columns = np.any(logits > -np.inf, axis=0)  # (K,)
    rows = columns[labels]  # (N,)
    new_label = np.cumsum(columns) - 1
    return logits[rows][:, columns].astype(np.float64), new_label[labels[rows]]


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, over the classes that can be predicted."""
    return scores.nll(*possible(logits, labels))


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """The Brier score (Brier 1950): the squared error of the probabilities, summed over classes; from 0 to 2.

    Equal to scikit-learn's `brier_score_loss(scale_by_half=False)`, which refuses a single remaining class.
    """
    logits, labels = possible(logits, labels)
    probabilities = softmax(logits, axis=1)  # (n, k)
    probabilities[np.arange(len(labels)), labels] -= 1
    return float((probabilities**2).sum(1).mean())


def reliability(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """The content of a reliability diagram: images binned by the probability of their predicted class.

    Bins have equal width, ((m - 1) / M, m / M], as in Guo et al. 2017.
    """
    logits, labels = possible(logits, labels)
    confidence = softmax(logits, axis=1).max(1)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # (n,)
    count = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, values, minlength=bins) for values in (confidence, logits.argmax(1) == labels))
    return Reliability(count, *(total / np.maximum(count, 1) for total in sums))


def ece(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of logits (N, K), in bins of equal width: see `Reliability.ece`."""
    return reliability(logits, labels, bins).ece()


def temperature(val_logits: np.ndarray, val_labels: np.ndarray) -> float:
    """The temperature T in `BOUNDS` that maximises the likelihood of validation logits (n, K) / T (Guo et al. 2017).

    If every validation image is right, the best T is 0, and the first wrong test image costs an infinite likelihood.
    So one image is added: its logits are the average, and it belongs to every class with the same probability. Its
    weight is 1 / (n + 1), which vanishes with many images.
    """
    from scipy.optimize import minimize_scalar  # takes a quarter of a second

    logits, labels = possible(val_logits, val_labels)
    if len(labels) == 0:
        return 1.0
    extra = 1 / (len(labels) + 1)  # weight of the added image

    def loss(log_t: float) -> float:
        log_p = log_softmax(logits / np.exp(log_t), axis=1)
        return float(-(1 - extra) * log_p[np.arange(len(labels)), labels].mean() - extra * log_p.mean())

    # The loss is convex in 1 / T, so it has one minimum in log T.
    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(BOUNDS)), method="bounded").x))


def summary(logits: np.ndarray, labels: np.ndarray, val_logits: np.ndarray, val_labels: np.ndarray) -> dict[str, Any]:
    """NLL, Brier score and ECE of test logits (N, K); under `calibrated`, the same after temperature scaling."""
    t = temperature(val_logits, val_labels)
    scaled = logits.astype(np.float64) / t
    return _scores(logits, labels) | {"calibrated": {"temperature": t} | _scores(scaled, labels)}


def _scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"nll": nll(logits, labels), "brier": brier(logits, labels), "ece": ece(logits, labels)}
