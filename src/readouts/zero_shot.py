"""The read-out `zero_shot`: the pretrained head of 1,000 categories, mapped to the classes of an experiment.

Nothing is trained. The file imagenet_labels.yaml in this folder lists the ImageNet categories of each class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from scipy.special import logsumexp

CATEGORIES = 1000  # of ImageNet-1k
_MAPPING = Path(__file__).with_name("imagenet_labels.yaml")


@dataclass(frozen=True)
class PretrainedHead:
    """The last layer of a network pretrained on ImageNet-1k: weight (1000, D), bias (1000,)."""

    weight: np.ndarray
    bias: np.ndarray


@cache
def mapping() -> dict[str, dict[int, str | None]]:
    """The categories of each class, index -> name; None for those inside a range, of which only the ends are named."""
    entries = yaml.safe_load(_MAPPING.read_text(encoding="utf-8"))
    return {name: {i: label for line in lines for i, label in _span(line).items()} for name, lines in entries.items()}


def _span(line: str) -> dict[int, str | None]:
    """`7 cock .. 9 ostrich` -> {7: cock, 8: None, 9: ostrich}; `404 airliner` -> {404: airliner}."""
    ends = {int(index): name for index, name in (end.split(" ", 1) for end in line.split(" .. "))}
    return {index: ends.get(index) for index in range(min(ends), max(ends) + 1)}


def unmapped(classes: Sequence[str]) -> list[str]:
    """The classes whose list of categories is empty, such as deer."""
    return [name for name in classes if mapping().get(name) == {}]


def unavailable(classes: Sequence[str], head: PretrainedHead | None) -> str | None:
    """Why zero_shot is not possible with these classes and this head, as one line; None if it is.

    Args:
        head: None if the backbone's head was not pretrained on ImageNet-1k.
    """
    if head is None or len(head.weight) != CATEGORIES:
        return (
            "zero_shot: the head was not pretrained on ImageNet-1k; set weights to imagenet, or drop zero_shot from "
            "frozen.readouts"
        )
    for name in classes:
        if name not in mapping():
            return (
                f"zero_shot: class {name!r} has no entry in src/readouts/{_MAPPING.name}; add the ImageNet categories "
                "that show it, or drop zero_shot from frozen.readouts"
            )
    if len(classes) - len(unmapped(classes)) < 2:
        return (
            f"zero_shot: ImageNet-1k has no category for {', '.join(unmapped(classes))}, which leaves fewer than two "
            "classes to tell apart; choose others, or drop zero_shot from frozen.readouts"
        )
    return None


def logits(features: np.ndarray, head: PretrainedHead, classes: Sequence[str]) -> np.ndarray:
    """The log-probability of each class: the softmax over all 1,000 categories, summed over those of the class.

    Args:
        features: (n, D) before the head.
        classes: K names, each in the mapping.

    Returns:
        (n, K) float32; -inf in the columns of classes without a category. The softmax of a row is the distribution
        given that the image belongs to one of the classes.
    """
    scores = (features @ head.weight.T + head.bias).astype(np.float64)  # (n, 1000)
    total = logsumexp(scores, axis=1)
    log_p = np.full((len(features), len(classes)), -np.inf, np.float32)
    for column, name in enumerate(classes):
        if categories := list(mapping()[name]):
            log_p[:, column] = logsumexp(scores[:, categories], axis=1) - total
    return log_p
