"""Features of a frozen backbone -> K-way logits. For `eval_convnext`.

Each read-out takes `Features` and returns a `Readout`, which turns any features (n, D) into logits (n, K).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.metrics import accuracy, nll

Logits = Callable[[np.ndarray], np.ndarray]

# Strengths tried by `linear`, as in linear-probe evaluations such as Ericsson et al. 2021 and DINOv2.
C_GRID = np.logspace(-6, 5, 45)


@dataclass(frozen=True)
class Readout:
    """`logits` maps (n, D) -> (n, K) float32; `chosen` is what was selected on validation images.

    `images` is how many images it needed the features of before it could be used: training and validation.
    """

    logits: Logits
    images: int = 0
    chosen: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """Features (n, D) and labels (n,) in 0..K-1 of the training and the validation images."""

    train: np.ndarray
    train_labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray


def random_head(features: Features, *, rng: np.random.Generator) -> Readout:
    """The report's protocol: a new linear layer that nobody trains, drawn as PyTorch draws nn.Linear."""
    width, classes = features.train.shape[1], int(features.train_labels.max()) + 1
    bound = 1 / np.sqrt(width)
    weight = rng.uniform(-bound, bound, (width, classes)).astype(np.float32)
    bias = rng.uniform(-bound, bound, classes).astype(np.float32)
    return Readout(lambda x: x @ weight + bias)


def linear(features: Features) -> Readout:
    """L2-regularised multinomial logistic regression on standardised features, C chosen on validation accuracy.

    The grid is searched coarsely from the strongest regularisation on, until the validation likelihood has got worse
    three times in a row (weaker ones overfit more, and take longest), then around the best; ties go to the stronger.
    The classifier stays the one fitted to the training images alone, so that the validation images remain unseen for
    whoever calibrates.
    """
    mean, std = features.train.mean(0), features.train.std(0)
    std[std < 1e-6] = 1  # a feature that never varies says nothing; dividing by its noise would

    def scale(x: np.ndarray) -> np.ndarray:
        return ((x - mean) / std).astype(np.float32)

    train, val = scale(features.train), scale(features.val)
    fits: dict[int, tuple[float, float, Any]] = {}  # position in the grid -> accuracy, likelihood, classifier

    def attempt(position: int) -> None:
        if position not in fits:
            model = _fit(train, features.train_labels, C_GRID[position])
            logits = _two_sided(model.decision_function(val))
            fits[position] = accuracy(logits, features.val_labels), nll(logits, features.val_labels), model

    worse = 0
    for position in range(0, len(C_GRID), 4):
        attempt(position)
        worse = worse + 1 if position and fits[position][1] > fits[position - 4][1] else 0
        if worse == 3:
            break
    coarse = max(sorted(fits), key=lambda position: fits[position][0])
    for position in range(max(0, coarse - 3), min(len(C_GRID), coarse + 4)):
        attempt(position)
    found = max(sorted(fits), key=lambda position: fits[position][0])
    model = fits[found][2]
    chosen = {"c": float(C_GRID[found])}
    return Readout(lambda x: _two_sided(model.decision_function(scale(x))), len(train) + len(val), chosen)


def fit(name: str, features: Features, *, rng: np.random.Generator) -> Readout:
    """The read-out of that name."""
    return random_head(features, rng=rng) if name == "random_head" else linear(features)


def _fit(x: np.ndarray, labels: np.ndarray, c: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # Nearly unregularised fits of separable data never converge; validation judges them all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=c, max_iter=200).fit(x, labels)


def _two_sided(scores: np.ndarray) -> np.ndarray:
    """scikit-learn gives one score for two classes; as logits these are (0, score)."""
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    return scores.astype(np.float32)
