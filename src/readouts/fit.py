"""Fit any read-out by its name, on all images or a few of each class."""

from collections.abc import Callable, Sequence

import numpy as np

from src.readouts import zero_shot
from src.readouts.base import Features, Readout
from src.readouts.linear import linear
from src.readouts.nearest import centroid, knn
from src.readouts.zero_shot import PretrainedHead


def random_head(features: Features, *, rng: np.random.Generator) -> Readout:
    """A new linear layer that is not trained, initialised like PyTorch's nn.Linear."""
    width = features.train.shape[1]
    bound = 1 / np.sqrt(width)
    weight = rng.uniform(-bound, bound, (width, features.classes)).astype(np.float32)
    bias = rng.uniform(-bound, bound, features.classes).astype(np.float32)
    identity = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    return Readout(lambda x: x @ weight + bias, affine={**identity, "weight": weight.T, "bias": bias})


def fit(
    name: str,
    features: Features,
    *,
    rng: np.random.Generator,
    configurations: int,
    head: PretrainedHead | None = None,
    categories: Sequence[Sequence[int]] = (),
) -> Readout:
    """Fit the read-out of this name.

    Args:
        rng: the generator of random_head.
        configurations: how many strengths linear tries, and knn at most.
        head, categories: what zero_shot needs, see `zero_shot.logits`.
    """
    readouts: dict[str, Callable[[], Readout]] = {
        "random_head": lambda: random_head(features, rng=rng),
        "zero_shot": lambda: _zero_shot(head, categories),
        "centroid": lambda: centroid(features),
        "knn": lambda: knn(features, configurations),
        "linear": lambda: linear(features, configurations),
    }
    return readouts[name]()


def _zero_shot(head: PretrainedHead | None, categories: Sequence[Sequence[int]]) -> Readout:
    assert head is not None
    return Readout(lambda x: zero_shot.logits(x, head, categories))
