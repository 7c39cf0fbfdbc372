"""The read-out `zero_shot`: the pretrained head of 1,000 categories, mapped to the classes of an experiment.

Nothing is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

CATEGORIES = 1000  # of ImageNet-1k
FILE = "zero_shot.json"  # beside the predictions: the categories of each class, where zero_shot is possible


@dataclass(frozen=True)
class PretrainedHead:
    """The last layer of a network pretrained on ImageNet-1k: weight (1000, D), bias (1000,)."""

    weight: np.ndarray
    bias: np.ndarray


def logits(features: np.ndarray, head: PretrainedHead, categories: Sequence[Sequence[int]]) -> np.ndarray:
    """The log-probability of each class: the softmax over all 1,000 categories, summed over those of the class.

    Args:
        features: (n, D) before the head.
        categories: for each of K classes, the indices of its categories.

    Returns:
        (n, K) float32; -inf in the columns of classes without a category. The softmax of a row is the distribution
        given that the image belongs to one of the classes.
    """
    scores = (features @ head.weight.T + head.bias).astype(np.float64)  # (n, 1000)
    total = logsumexp(scores, axis=1)
    log_p = np.full((len(features), len(categories)), -np.inf, np.float32)
    for column, own in enumerate(categories):
        if own:
            log_p[:, column] = logsumexp(scores[:, list(own)], axis=1) - total
    return log_p
