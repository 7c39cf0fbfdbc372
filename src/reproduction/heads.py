"""How many images untrained heads on a frozen backbone get right: many of them, by their initialisation alone."""

from collections.abc import Iterator

import numpy as np

AT_ONCE = 100  # heads, so that the logits of some thousand images take little memory


def right_of_random_heads(
    features: np.ndarray, labels: np.ndarray, heads: int, rng: np.random.Generator, classes: int = 2
) -> np.ndarray:
    """The number of right answers (heads,) of linear layers as PyTorch's nn.Linear begins, see `fit.random_head`.

    Args:
        features: (n, D) of the test images.
        labels: (n,) in 0..classes-1.
    """
    return np.concatenate(list(_blocks(np.asarray(features, np.float32), labels, heads, rng, classes)))


def _blocks(
    features: np.ndarray, labels: np.ndarray, heads: int, rng: np.random.Generator, classes: int
) -> Iterator[np.ndarray]:
    width = features.shape[1]
    bound = 1 / np.sqrt(width)
    for start in range(0, heads, AT_ONCE):
        count = min(AT_ONCE, heads - start)
        weight = rng.uniform(-bound, bound, (width, count * classes)).astype(np.float32)
        bias = rng.uniform(-bound, bound, count * classes).astype(np.float32)
        logits = (features @ weight + bias).reshape(len(features), count, classes)
        yield (logits.argmax(2) == labels[:, None]).sum(0)
