"""Features of a frozen backbone -> K-way logits.

Each read-out takes `Features` and returns a `Readout`, which turns any features (n, D) into logits (n, K).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Logits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Readout:
    """`logits` maps (n, D) -> (n, K) float32; `chosen` is what was selected on validation images.

    `images` is how many images it needed the features of before it could be used: training and validation;
    `parameters` how many numbers were trained; `val_logits` (n, K) are those of the validation images where fitting
    computed them. Of a read-out that is affine, (x - mean) / std @ weight.T + bias, `affine` holds these: mean and std
    (D,), weight (K, D), bias (K,).
    """

    logits: Logits
    images: int = 0
    parameters: int = 0
    val_logits: np.ndarray | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    affine: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """Features (n, D) and labels (n,) in 0..K-1 of the training and the validation images."""

    train: np.ndarray
    train_labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray

    @property
    def classes(self) -> int:
        """K: every class has training images."""
        return int(self.train_labels.max()) + 1
