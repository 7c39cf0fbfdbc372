"""Features of a frozen backbone -> K-way logits. For `eval_convnext`.

Each read-out takes `Features` and returns a `Readout`, which turns any features (n, D) into logits (n, K).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Logits = Callable[[np.ndarray], np.ndarray]

# Strengths tried by `linear`, as in linear-probe evaluations such as Ericsson et al. 2021 and DINOv2.
C_GRID = np.logspace(-6, 5, 45)


@dataclass(frozen=True)
class Readout:
    """`logits` maps (n, D) -> (n, K) float32; `chosen` is what was selected on validation images."""

    logits: Logits
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

    The grid is searched coarsely from the strongest on, then around the best; ties go to the stronger regularisation. The classifier stays
    the one fitted to the training images alone, so that the validation images remain unseen for whoever calibrates.
    """
    mean, std = features.train.mean(0), features.train.std(0)
    std[std < 1e-6] = 1  # a feature that never varies says nothing; dividing by its noise would
    scale: Logits = lambda x: ((x - mean) / std).astype(np.float32)  # noqa: E731
    train, val = scale(features.train), scale(features.val)
    fits: dict[int, tuple[float, Any]] = {}

    def accuracy(position: int) -> float:
        if position not in fits:
            model = _fit(train, features.train_labels, C_GRID[position])
            fits[position] = float((model.predict(val) == features.val_labels).mean()), model
        return fits[position][0]

    def best() -> int:
        return max(sorted(fits), key=accuracy)

    for position in range(0, len(C_GRID), 4):
        accuracy(position)
        if position - best() >= 12:  # three in a row that were no better; weaker ones are also the slowest to fit
            break
    for position in range(max(0, best() - 3), min(len(C_GRID), best() + 4)):
        accuracy(position)
    found = best()
    model = fits[found][1]
    return Readout(lambda x: _two_sided(model.decision_function(scale(x))), {"c": float(C_GRID[found])})


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
