"""Every read-out by name, fitted on the images that an experiment may use."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from src.core import seeds
from src.core.errors import UserError
from src.readouts import base, zero_shot
from src.readouts.base import Features, Readout
from src.readouts.linear import linear
from src.readouts.nearest import centroid, knn
from src.readouts.zero_shot import PretrainedHead


def available(
    readouts: Sequence[str], classes: list[str], head: zero_shot.PretrainedHead | None
) -> tuple[list[str], str | None]:
    """The read-outs that these classes and weights allow, and why zero_shot is not among them where it was asked for.

    Raises:
        UserError: none is left.
    """
    why = zero_shot.unavailable(classes, head) if "zero_shot" in readouts else None
    wanted = [name for name in readouts if not (name == "zero_shot" and why)]
    if not wanted:
        raise UserError(f"frozen.readouts = [zero_shot]: {why}; allowed here are the others, e.g. linear")
    return wanted, why


def few_shot(train: np.ndarray, subset: Mapping[str, np.ndarray], shots: int | None, seed: int) -> base.Features:
    """The features and labels that read-outs may learn from, and choose by."""
    found = []
    for part in ("train", "val"):
        chosen = few(subset[f"{part}_labels"], shots, seeds.generator(seed, "shots", part))
        found += [train[subset[f"{part}_index"][chosen]], subset[f"{part}_labels"][chosen]]
    return base.Features(*found)


def random_head(features: Features, *, rng: np.random.Generator) -> Readout:
    """The report's protocol: a new linear layer that nobody trains, drawn as PyTorch draws nn.Linear."""
    width = features.train.shape[1]
    bound = 1 / np.sqrt(width)
    weight = rng.uniform(-bound, bound, (width, features.classes)).astype(np.float32)
    bias = rng.uniform(-bound, bound, features.classes).astype(np.float32)
    same = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    return Readout(lambda x: x @ weight + bias, affine={**same, "weight": weight.T, "bias": bias})


def fit(
    name: str, features: Features, *, rng: np.random.Generator, head: PretrainedHead | None, classes: Sequence[str]
) -> Readout:
    """The read-out of that name.

    Args:
        rng: what random_head is drawn from.
        head: the backbone's own head where it was pretrained on ImageNet-1k, which zero_shot reads; else None.
        classes: the K names, in the order of the labels.

    Raises:
        UserError: zero_shot, and `zero_shot.unavailable` says why not.
    """
    readouts: dict[str, Callable[[], Readout]] = {
        "random_head": lambda: random_head(features, rng=rng),
        "zero_shot": lambda: _zero_shot(head, classes),
        "centroid": lambda: centroid(features),
        "knn": lambda: knn(features),
        "linear": lambda: linear(features),
    }
    return readouts[name]()


def _zero_shot(head: PretrainedHead | None, classes: Sequence[str]) -> Readout:
    why = zero_shot.unavailable(classes, head)
    if head is None or why:
        raise UserError(why)
    return Readout(lambda x: zero_shot.logits(x, head, classes))


def few(labels: np.ndarray, shots: int | None, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions of at most `shots` images of each class, drawn at random; of all images for None."""
    if shots is None:
        return np.arange(len(labels))
    classes = range(int(labels.max()) + 1)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:shots] for label in classes]
    return np.sort(np.concatenate(chosen))
