"""Accuracies of arms and weighted sums of them, in shares and in log odds, over seeds (or subsets) and test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.stats.crossed import DIFFERENCE, SHARE, Crossed, Row, Scale, crossed

Weights = Mapping[str, float]  # by arm; {"a": 1, "b": -1} is the difference a - b


@dataclass(frozen=True)
class Answers:
    """Under one seed, or in one subset, whether each arm got the images `index` (n,) right: (n,) by arm.

    `cluster` is the name of the seed or subset. Means over the seeds of a subset are answers too.
    """

    cluster: str
    index: np.ndarray
    right: Mapping[str, np.ndarray]

    def sum(self, weights: Weights) -> np.ndarray:
        """The weighted sum of the arms' answers to each image, (n,)."""
        return np.sum([weight * self.right[arm] for arm, weight in weights.items()], axis=0)


def accuracy(answers: Sequence[Answers], arm: str, confidence: float) -> Crossed:
    """An arm's accuracy."""
    return crossed([Row(part.cluster, part.index, part.right[arm]) for part in answers], confidence, SHARE)


def contrast(answers: Sequence[Answers], weights: Weights, confidence: float) -> Crossed:
    """A weighted sum of accuracies: an image that is hard for all arms alike does not widen its interval."""
    gains = [weight for weight in weights.values() if weight > 0]
    scale = Scale(DIFFERENCE.pseudo, -sum(gains), sum(gains))
    return crossed([Row(part.cluster, part.index, part.sum(weights)) for part in answers], confidence, scale)


def log_odds(answers: Sequence[Answers], weights: Weights, confidence: float) -> Crossed:
    """The same sum of the arms' log odds of a right answer, by the delta method.

    A share p of n images has the log odds of (n p + 1/2) / (n + 1), which are finite for 0 and 1 (Anscombe 1956), and a
    small change of p changes them by 1 / (p (1 - p)) times as much.
    """
    n = np.mean([len(part.index) for part in answers])
    mean = {arm: float(np.mean([part.right[arm].mean() for part in answers])) for arm in weights}
    odds = {arm: (n * share + 0.5) / (n * (1 - share) + 0.5) for arm, share in mean.items()}
    steep = {arm: weight * (1 + odds[arm]) ** 2 / odds[arm] for arm, weight in weights.items()}  # w / (p (1 - p))
    value = sum(weight * np.log(odds[arm]) for arm, weight in weights.items())
    level = sum(factor * mean[arm] for arm, factor in steep.items())
    largest = max(map(abs, steep.values()))
    rows = [Row(part.cluster, part.index, value + part.sum(steep) - level) for part in answers]
    return crossed(rows, confidence, Scale((largest, -largest), -np.inf, np.inf))
