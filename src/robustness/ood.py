"""Out-of-distribution detection: how well scores tell images of the classes from images of others.

Scores are higher for unknown images. Known images are those of the classes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats
from scipy.special import expit, logit, logsumexp, softmax
from sklearn.metrics import roc_curve

from src.core.records import Interval
from src.readouts.nearest import most_similar, unit

SCORES = ("msp", "energy", "knn")
NEIGHBOUR_SHARE = 0.001  # of the bank: Sun et al. 2022 take the 50th of CIFAR-10's 50,000 training images
BANK = 5000  # training images, at most, among which they are looked for


def msp(logits: np.ndarray) -> np.ndarray:
    """Minus the largest softmax probability (Hendrycks and Gimpel 2017): logits (n, K) -> (n,)."""
    return -softmax(logits.astype(np.float64), axis=1).max(1)


def energy(logits: np.ndarray) -> np.ndarray:
    """The free energy, minus the logarithm of the summed exponentials (Liu et al. 2020): logits (n, K) -> (n,)."""
    return -logsumexp(logits.astype(np.float64), axis=1)


def knn(features: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """The distance of directions (n, D) to the k-th nearest of the training images' (m, D) (Sun et al. 2022): (n,).

    k is 0.1 % of m, as there, and at least 1: the same k in a smaller bank would look much further away.
    """
    cosines, _ = most_similar(unit(features), unit(bank), max(1, round(NEIGHBOUR_SHARE * len(bank))))
    return np.sqrt(np.maximum(0, 2 - 2 * cosines[:, -1].astype(np.float64)))


@dataclass(frozen=True)
class Placements:
    """For each known image (n,) the share of unknown ones with a higher score; for each unknown image (m,) the share of
    known ones with a lower score. Ties count half. The mean of either is the AUROC."""

    known: np.ndarray
    unknown: np.ndarray


def placements(known: np.ndarray, unknown: np.ndarray) -> Placements:
    """From the scores of known images (n,) and unknown ones (m,)."""
    ranks = stats.rankdata(np.concatenate([known, unknown]))
    n, m = len(known), len(unknown)
    below = ranks[n:] - stats.rankdata(unknown)  # known images below each unknown one
    above = ranks[:n] - stats.rankdata(known)  # unknown images below each known one
    return Placements(1 - above / m, below / n)


def auroc(parts: Placements, *, confidence: float) -> Interval:
    """The AUROC with DeLong's interval on the scale of its log odds.

    DeLong et al. 1988: the variances of the two kinds of images' placements add up, each over its number of images. On
    the scale of the AUROC itself the interval is too narrow near 1; Pepe 2003 takes log odds.
    Where every pair is in order the variance is 0: then the bound is that of Clopper and Pearson for as many pairs as
    share no image, min(n, m), all of them in order.
    """
    value = float(parts.known.mean())
    if value in (0, 1):
        bound = ((1 - confidence) / 2) ** (1 / min(len(parts.known), len(parts.unknown)))
        return Interval(1.0, bound, 1.0) if value else Interval(0.0, 0.0, 1 - bound)
    variance = sum(part.var(ddof=1) / len(part) for part in (parts.known, parts.unknown))
    reach = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(variance) / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Interval(value, float(low), float(high))


def fpr95(known: np.ndarray, unknown: np.ndarray) -> float:
    """The share of unknown images that pass the threshold which 95 in 100 known ones pass."""
    labels = np.concatenate([np.ones(len(known)), np.zeros(len(unknown))])
    false, true, _ = roc_curve(labels, -np.concatenate([known, unknown]), drop_intermediate=False)
    return float(false[np.argmax(true >= 0.95)])


def far(dataset: str, count: int, height: int, width: int, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """What the images of another dataset are, and at most `count` of them, (n, H, W, 3) uint8.

    scikit-learn's handwritten digits, enlarged; if the classes are digits, pieces of its two photographs.
    """
    if dataset == "digits":
        from sklearn.datasets import load_sample_images

        photographs = load_sample_images().images  # 427 x 640 pixels each
        pieces = []
        for number in range(count):
            image = photographs[number % len(photographs)]
            top, left = (rng.integers(0, room + 1) for room in (image.shape[0] - height, image.shape[1] - width))
            pieces.append(image[top : top + height, left : left + width])
        return "pieces of scikit-learn's photographs", np.stack(pieces)
    from sklearn.datasets import load_digits

    grey = load_digits().images  # (1797, 8, 8) in 0..16
    grey = grey[np.sort(rng.permutation(len(grey))[:count])]
    large = ndimage.zoom(grey, (1, height / 8, width / 8), order=1)
    return "scikit-learn's digits", np.repeat(np.rint(large * (255 / 16)).astype(np.uint8)[..., None], 3, axis=3)
