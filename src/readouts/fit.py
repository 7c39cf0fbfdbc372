"""Fit any read-out by its name, on all images or a few of each class."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from src.core import seeds
from src.readouts import zero_shot
from src.readouts.base import Features, Readout
from src.readouts.linear import linear
from src.readouts.nearest import centroid, knn
from src.readouts.zero_shot import PretrainedHead


def few_shot(train: np.ndarray, subset: Mapping[str, np.ndarray], shots: int | None, seed: int) -> Features:
    """The features and labels of at most `shots` training and validation images of each class.

    Args:
        train: features (N, D) of all images of the dataset's training split.
        subset: the arrays <part>_index and <part>_labels.
    """
    arrays = []
    for part in ("train", "val"):
        chosen = few(subset[f"{part}_labels"], shots, seeds.generator(seed, "shots", part))
        arrays += [train[subset[f"{part}_index"][chosen]], subset[f"{part}_labels"][chosen]]
    return Features(*arrays)


def random_head(features: Features, *, rng: np.random.Generator) -> Readout:
    """The protocol of the report: a new linear layer that is not trained, initialised like PyTorch's nn.Linear."""
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
    head: PretrainedHead | None = None,
    categories: Sequence[Sequence[int]] = (),
) -> Readout:
    """Fit the read-out of this name.

    Args:
        rng: the generator of random_head.
        head, categories: what zero_shot needs, see `zero_shot.logits`.
    """
    readouts: dict[str, Callable[[], Readout]] = {
        "random_head": lambda: random_head(features, rng=rng),
        "zero_shot": lambda: _zero_shot(head, categories),
        "centroid": lambda: centroid(features),
        "knn": lambda: knn(features),
        "linear": lambda: linear(features),
    }
    return readouts[name]()


def _zero_shot(head: PretrainedHead | None, categories: Sequence[Sequence[int]]) -> Readout:
    assert head is not None
    return Readout(lambda x: zero_shot.logits(x, head, categories))


def few(labels: np.ndarray, shots: int | None, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions in `labels` (n,) of at most `shots` images of each class, drawn at random; None for all."""
    if shots is None:
        return np.arange(len(labels))
    classes = range(int(labels.max()) + 1)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:shots] for label in classes]
    return np.sort(np.concatenate(chosen))
