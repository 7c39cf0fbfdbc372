"""The types of read-outs, which map features of a frozen backbone to logits.

Each read-out is a function that takes `Features` and returns a `Readout`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.storage.features import ImageRows

Logits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Readout:
    """A fitted read-out.

    Args:
        logits: maps features (n, D) to logits (n, K) float32.
        images: the number of training and validation images whose features were used.
        parameters: the number of trained parameters.
        val_logits: (n, K) of the validation images, if fitting computed them.
        chosen: the hyperparameters that were selected on validation images, as fields of `Evaluation`: among how many
            `configurations`, and of these which were `tried` with which `tried_accuracies`.
        fit_macs: multiply-accumulates of fitting on features, those of trying configurations included.
        affine: for a read-out (x - mean) / std @ weight.T + bias: mean (D,), std (D,), weight (K, D), bias (K,).
    """

    logits: Logits
    images: int = 0
    parameters: int = 0
    val_logits: np.ndarray | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    affine: dict[str, np.ndarray] = field(default_factory=dict)
    fit_macs: int = 0


@dataclass(frozen=True)
class Features:
    """Features (n, D) and labels (n,) in 0..K-1 of the training and the validation images."""

    train: np.ndarray
    train_labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray | ImageRows, subset: Mapping[str, np.ndarray]) -> "Features":
        """Those of a subset.

        Args:
            train: features of the dataset's training split by position, of its subset at least.
            subset: the arrays <part>_index and <part>_labels.
        """
        parts = [(train[subset[f"{part}_index"]], subset[f"{part}_labels"]) for part in ("train", "val")]
        return cls(*parts[0], *parts[1])

    @property
    def classes(self) -> int:
        """The number of classes K; every class has training images."""
        return int(self.train_labels.max()) + 1
