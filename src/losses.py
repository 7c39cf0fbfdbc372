"""What training minimises: cross-entropy, also where classes differ in size or labels are soft. For `src.training`."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]  # logits (B, K), and labels (B,) or soft ones (B, K) -> the mean over images


def of(train_labels: np.ndarray, balance: str, label_smoothing: float, device: torch.device) -> Loss:
    """The loss by which a network learns from training images of these labels (n,) in 0..K-1, of which all occur.

    Args:
        balance: `weights` weighs every image by `inverse_frequency` of its class; `logit_adjustment` adds the log prior
            of each class to its logit (Menon et al. 2021, equation 10, tau = 1), in training alone, so that what the
            network itself puts out is for classes that are equally frequent. Others change nothing here.
        label_smoothing: the share of a label that is spread evenly over the K classes (Szegedy et al. 2016).
    """
    counts = np.bincount(train_labels)
    if balance == "weights":
        weight = torch.tensor(inverse_frequency(counts), dtype=torch.float32, device=device)
        return partial(weighted, weight=weight, label_smoothing=label_smoothing)
    if balance == "logit_adjustment":
        prior = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32, device=device)
        return partial(adjusted, prior=prior, label_smoothing=label_smoothing)
    return partial(F.cross_entropy, label_smoothing=label_smoothing)


def inverse_frequency(counts: np.ndarray) -> np.ndarray:
    """n / (K n_k) for each class: the mean over all n images is 1, as is scikit-learn's `balanced`."""
    return counts.sum() / (len(counts) * counts)


def weighted(logits: Tensor, labels: Tensor, *, weight: Tensor, label_smoothing: float) -> Tensor:
    """Divided by the number of images and not, as `reduction="mean"` has it, by the sum of their weights.

    A batch without rare images then counts less than one with them, several processes that share a batch agree with one
    alone, and soft labels are divided as others are.
    """
    total = F.cross_entropy(logits, labels, weight, reduction="sum", label_smoothing=label_smoothing)
    return total / len(logits)


def adjusted(logits: Tensor, labels: Tensor, *, prior: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(logits + prior, labels, label_smoothing=label_smoothing)


def dominant(labels: Tensor) -> Tensor:
    """The class (B,) that has the largest part of each label, soft (B, K) or not (B,)."""
    return labels if labels.ndim == 1 else labels.argmax(1)
