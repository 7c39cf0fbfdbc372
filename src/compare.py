"""Pure functions of the predictions of several arms on the same images: intervals and differences. For `compare`.

Arms are a mapping from an arm's name to its logits (N, K), all on the same N images in the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

Arms = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


def accuracies(arms: Arms, labels: np.ndarray, *, confidence: float) -> dict[str, Interval]:
    """The accuracy of each arm with its Wilson score interval (Wilson 1927), which covers the choice of images."""
    found = {}
    for name, logits in arms.items():
        right = logits.argmax(1) == labels  # (N,)
        bounds = stats.binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
        found[name] = Interval(float(right.mean()), float(bounds.low), float(bounds.high))
    return found


def first_classes(arms: Arms, labels: np.ndarray, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Only the images of the first `count` classes, all K logits still competing: the report's own test."""
    chosen = labels < count
    return {name: logits[chosen] for name, logits in arms.items()}, labels[chosen]


def recall(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The accuracy on each class's images, (K,); every class has some."""
    right = logits.argmax(1) == labels
    return np.array([right[labels == label].mean() for label in range(logits.shape[1])])


def lead(arms: Arms, labels: np.ndarray, *, confidence: float, resamples: int, seed: int) -> dict[str, Interval]:
    """How far the first arm is ahead of each other one: accuracy less accuracy, with a paired bootstrap interval.

    Images are drawn with replacement, each with both arms' answers (Efron and Tibshirani 1993, chapter 13; the
    percentile interval), so that what makes an image hard for both does not widen it. It covers the choice of test
    images, not that of seeds.
    """
    first, *others = arms
    right = {name: (logits.argmax(1) == labels).astype(np.int8) for name, logits in arms.items()}
    found = {}
    for name in others:
        difference = right[first] - right[name]  # (N,) in -1, 0, 1
        bounds = stats.bootstrap(
            (difference,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, 10_000_000 // len(difference)),  # some 100 MB at a time
            confidence_level=confidence,
            method="percentile",
            rng=np.random.default_rng(seed),  # the same images for every pair
        ).confidence_interval
        found[name] = Interval(float(difference.mean()), float(bounds.low), float(bounds.high))
    return found


def render(found: Mapping[str, Interval], ahead: Mapping[str, Interval], n: int, confidence: float) -> str:
    """A table for the terminal: each arm's accuracy, then how far the first arm is ahead of each other one."""
    width = max(map(len, found))
    lines = [f"{'arm':<{width}}  accuracy  {f'{100 * confidence:g}% interval':<16}  first arm ahead by, points"]
    for name, value in found.items():
        gap = "-"
        if name in ahead:
            low, middle, high = (100 * part for part in (ahead[name].low, ahead[name].value, ahead[name].high))
            gap = f"{middle:+.2f}  [{low:+.2f}, {high:+.2f}]"
        lines.append(f"{name:<{width}}  {value.value:8.4f}  [{value.low:.4f}, {value.high:.4f}]  {gap}")
    return "\n".join(
        [*lines, f"{n:,} test images, the same for every arm; the difference's interval is a paired bootstrap"]
    )
