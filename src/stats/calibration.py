"""Pure functions of (logits, labels): whether a confidence of 0.8 is right 8 times in 10.

Classes that an arm can never predict, whose logits are -inf for every image, and the images of these classes are left
out of everything here: any probability that is 0 for what is true would make the likelihood infinite.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from src.stats import scores as stats_scores

BINS = 15  # as in Guo et al. 2017
# Wide enough for logits that are cosines (T near 0.01) or distances; an arm that knows nothing ends at the upper one.
BOUNDS = (1e-3, 1e3)


@dataclass(frozen=True)
class Reliability:
    """By bin of confidence, each (bins,): the number of images, their mean confidence and accuracy, 0 where none is."""

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    def ece(self) -> float:
        """Expected calibration error (Guo et al. 2017): the gap of confidence and accuracy, averaged over images."""
        return float((self.count * np.abs(self.confidence - self.accuracy)).sum() / self.count.sum())


def possible(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, k) and labels (n,) without classes whose logit is -inf for every image, and without their images."""
    columns = np.any(logits > -np.inf, axis=0)  # (K,)
    kept = columns[labels]
    relabelled = np.cumsum(columns) - 1
    return logits[kept][:, columns].astype(np.float64), relabelled[labels[kept]]


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, of the classes that can be predicted."""
    return stats_scores.nll(*possible(logits, labels))


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """Brier 1950's score: the squared error of the probabilities, summed over classes; from 0 to 2.

    scikit-learn's `brier_score_loss(scale_by_half=False)`, which refuses a single remaining class.
    """
    logits, labels = possible(logits, labels)
    probabilities = softmax(logits, axis=1)  # (n, k)
    probabilities[np.arange(len(labels)), labels] -= 1
    return float((probabilities**2).sum(1).mean())


def reliability(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """What a reliability diagram draws: images by the probability of the class that they are taken for.

    Bins are of equal width, ((m - 1) / M, m / M] as in Guo et al. 2017.
    """
    logits, labels = possible(logits, labels)
    confidence = softmax(logits, axis=1).max(1)
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    sums = (np.bincount(number, part, minlength=bins) for part in (confidence, logits.argmax(1) == labels))
    return Reliability(count, *(total / np.maximum(count, 1) for total in sums))


def ece(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of the test images (N, K), in bins of equal width: see `Reliability`."""
    return reliability(logits, labels, bins).ece()


def temperature(val_logits: np.ndarray, val_labels: np.ndarray) -> float:
    """The T by which to divide logits so that validation images (n, K) are likeliest (Guo et al. 2017), in `BOUNDS`.

    Where every validation image is right the likeliest T is 0, and the first wrong test image would cost an infinite
    likelihood. So one image more is imagined, of any class with the same probability and with average logits: it
    weighs 1 / (n + 1), and nothing where there are many images.
    """
    from scipy.optimize import minimize_scalar  # takes a quarter of a second

    logits, labels = possible(val_logits, val_labels)
    if len(labels) == 0:
        return 1.0
    doubt = 1 / (len(labels) + 1)

    def loss(log_t: float) -> float:
        scores = log_softmax(logits / np.exp(log_t), axis=1)
        return float(-(1 - doubt) * scores[np.arange(len(labels)), labels].mean() - doubt * scores.mean())

    # In 1 / T the loss is convex, so that in log T it has one minimum.
    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(BOUNDS)), method="bounded").x))


def summary(logits: np.ndarray, labels: np.ndarray, val_logits: np.ndarray, val_labels: np.ndarray) -> dict[str, Any]:
    """NLL, Brier score and ECE of test images (N, K), and under `calibrated` again with the fitted temperature."""
    t = temperature(val_logits, val_labels)
    scaled = logits.astype(np.float64) / t
    return _scores(logits, labels) | {"calibrated": {"temperature": t} | _scores(scaled, labels)}


def _scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"nll": nll(logits, labels), "brier": brier(logits, labels), "ece": ece(logits, labels)}
