"""Confidence intervals, tests and effects, as pure functions of the predictions of several arms.

`Arms` maps an arm's name to its logits (N, K), all on the same N images in the same order. Every interval covers the
choice of test images; that of `over_seeds` covers the choice of seeds too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from src.core.records import Interval, Pair

Arms = Mapping[str, np.ndarray]

# The effects of the 2 x 2 table as weighted sums of its cells' accuracies; a main effect is a mean of two simple ones.
EFFECTS: dict[str, dict[str, float]] = {
    "architecture": {
        "convnext.frozen": 0.5,
        "resnet.frozen": -0.5,
        "convnext.finetuned": 0.5,
        "resnet.finetuned": -0.5,
    },
    "finetuning": {
        "convnext.finetuned": 0.5,
        "convnext.frozen": -0.5,
        "resnet.finetuned": 0.5,
        "resnet.frozen": -0.5,
    },
    "interaction": {
        "convnext.finetuned": 1,
        "convnext.frozen": -1,
        "resnet.finetuned": -1,
        "resnet.frozen": 1,
    },
}


@dataclass(frozen=True)
class Sampling:
    """Of the bootstrap: the interval's level, how often to draw, and the seed."""

    confidence: float
    resamples: int
    seed: int


@dataclass(frozen=True)
class Resampled:
    """How many of `n` images each of A arms got right: `right` (A,) in the data, `draws` (R, A) in each resample."""

    names: tuple[str, ...]
    n: int
    right: np.ndarray
    draws: np.ndarray
    confidence: float

    def contrast(self, weights: Mapping[str, float]) -> Interval:
        """A weighted sum of accuracies with its percentile interval; {"a": 1, "b": -1} gives the difference a - b."""
        columns = [self.names.index(name) for name in weights]
        factors = np.array(list(weights.values()), float)
        value, draws = (counts[..., columns] @ factors / self.n for counts in (self.right, self.draws))
        return Interval(float(value), *_percentiles(draws, self.confidence))


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds. `spread` is the standard deviation over seeds; None for a single seed."""

    interval: Interval
    spread: float | None
    seeds: int
    covers: str  # "images and seeds", or "images" for a single seed


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which predictions are right, (N,): the largest logit (N, K) is the label's. A row of -inf predicts nothing."""
    return (logits.argmax(1) == labels) & (logits.max(1) > -np.inf)


def accuracies(arms: Arms, labels: np.ndarray, *, confidence: float) -> dict[str, Interval]:
    """The accuracy of each arm with its Wilson score interval (Wilson 1927)."""
    return {name: share(correct(logits, labels), confidence) for name, logits in arms.items()}


def share(right: np.ndarray, confidence: float) -> Interval:
    """The share of `right` (n,) bool that is true, with its Wilson score interval."""
    bounds = stats.binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
    return Interval(float(right.mean()), float(bounds.low), float(bounds.high))


def first_classes(
    arms: Arms, labels: np.ndarray, count: int, *, restricted: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The logits and labels of the images of the first `count` classes.

    As in the report, all K logits compete by default, so that the prediction may be a class that is not tested.
    `restricted` keeps the first `count` logits alone.
    """
    chosen = labels < count
    columns = slice(count) if restricted else slice(None)
    return {name: logits[chosen, columns] for name, logits in arms.items()}, labels[chosen]


def recall(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The accuracy on the images of each class, (K,); every class has images."""
    right = correct(logits, labels)
    return np.array([right[labels == label].mean() for label in range(logits.shape[1])])


def resample(arms: Arms, labels: np.ndarray, *, confidence: float, resamples: int, seed: int) -> Resampled:
    """The paired bootstrap of all arms: test images are drawn with replacement, each with the predictions of all arms.

    An image that is hard for both of two arms then does not widen the interval of their difference (Efron and
    Tibshirani 1993, chapter 13; the percentile interval).
    """
    right = {name: correct(logits, labels) for name, logits in arms.items()}
    return resample_shares(right, confidence=confidence, resamples=resamples, seed=seed)


def resample_shares(shares: Arms, *, confidence: float, resamples: int, seed: int) -> Resampled:
    """The same for images with several versions: `shares` (N,) of each image's versions that an arm got right."""
    right = np.stack(list(shares.values()))  # (A, N)
    draws = np.concatenate(list(_draw(right, resamples, np.random.default_rng(seed))))
    return Resampled(tuple(shares), right.shape[1], right.sum(1), draws, confidence)


def _draw(values: np.ndarray, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The row sums of (A, N) over N columns drawn with replacement, in blocks (r, A) of some resamples.

    The sums depend on how often each distinct column is drawn, and these counts are multinomial. Drawing the counts
    gives the same distribution as drawing images, and is cheaper where many columns are equal.
    """
    distinct, counts = np.unique(values.T, axis=0, return_counts=True)  # (P, A), (P,)
    share = counts / counts.sum()
    step = max(1, 2_000_000 // len(distinct))  # some 30 MB at a time
    for start in range(0, resamples, step):
        times = rng.multinomial(values.shape[1], share, size=min(step, resamples - start))  # (r, P)
        yield times.astype(float) @ distinct.astype(float)  # whole numbers, exact


def _percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def pairs(arms: Arms, labels: np.ndarray, resampled: Resampled) -> list[Pair]:
    """Each pair of arms: the paired interval of their difference, and McNemar's exact test.

    McNemar 1947 tests whether, of the images that only one of the two got right, each got half; without such images
    p is 1. The p values of all pairs are adjusted together (Holm 1979).
    """
    right = {name: correct(logits, labels) for name, logits in arms.items()}
    both = list(combinations(arms, 2))
    only = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in both]
    p = [mcnemar(only_a, only_b) for only_a, only_b in only]
    adjusted = holm(p)
    return [
        Pair(a, b, resampled.contrast({a: 1, b: -1}), p[i], float(adjusted[i]), *only[i])
        for i, (a, b) in enumerate(both)
    ]


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact p-value of McNemar's test (1947): that images which one arm alone gets right fall to both equally."""
    total = only_first + only_second
    return float(stats.binomtest(only_first, total).pvalue) if total else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm's method (1979): the smallest times m, the next times m - 1, never below one before."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, position in enumerate(sorted(range(len(p)), key=lambda position: p[position])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[position]))
        adjusted[position] = largest
    return adjusted


def effects(resampled: Resampled, cells: Mapping[str, str]) -> dict[str, Interval]:
    """Main effects of architecture and of fine-tuning, and their interaction, in units of accuracy.

    Args:
        resampled: of the four arms at least.
        cells: the arm that represents each cell of the 2 x 2 table, by cell (`resnet.frozen`).
    """
    return {
        name: resampled.contrast({cells[cell]: weight for cell, weight in weights.items()})
        for name, weights in EFFECTS.items()
    }


def over_seeds(
    first: np.ndarray, second: np.ndarray | None = None, *, confidence: float, resamples: int, seed: int
) -> OverSeeds:
    """The mean accuracy of one arm over seeds, or the mean difference of two, with an interval over seeds and images.

    The test images are the same under every seed, so images and seeds are crossed, not nested: each are drawn on their
    own, and all pairs are kept (the pigeonhole bootstrap, Owen 2007). Of S seeds S - 1 are drawn, because the variance
    of S draws is too small by the factor (S - 1) / S (Rao and Wu 1988). With one seed, only images are drawn.

    The coverage of the 95 % interval in simulations: 99 % where seeds differ by chance on single images; where whole
    seeds differ by far more than images do, 90 % for 3 seeds, 91 % for 5, 95 % for 10.

    Args:
        first: which images the arm got right, (S, N) by seed.
        second: the same for the other arm, with the same seeds and images.
    """
    gap = first.astype(np.int8) - (0 if second is None else second.astype(np.int8))  # (S, N)
    count, n = gap.shape
    rng = np.random.default_rng(seed)
    totals = np.concatenate(list(_draw(gap, resamples, rng)))  # (R, S)
    drawn = max(1, count - 1)
    times = rng.multinomial(drawn, np.full(count, 1 / count), size=resamples)  # (R, S)
    bounds = _percentiles((totals * times).sum(1) / (drawn * n), confidence)
    spread = float(gap.mean(1).std(ddof=1)) if count > 1 else None
    return OverSeeds(
        Interval(float(gap.mean()), *bounds), spread, count, "images and seeds" if spread is not None else "images"
    )
