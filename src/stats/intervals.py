"""Pure functions of the predictions of several arms on the same images: intervals, tests, effects.

Arms are a mapping from an arm's name to its logits (N, K), all on the same N images in the same order. Every interval
covers the choice of test images; `over_seeds` covers the choice of seeds too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

Arms = Mapping[str, np.ndarray]

# The effects of the 2 x 2 table as sums of its cells' accuracies. Each main effect is the mean of two simple effects.
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
class Interval:
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """How many of `n` images each arm got right: of the images themselves (A,), and of each resample of them (R, A)."""

    names: tuple[str, ...]
    n: int
    right: np.ndarray
    draws: np.ndarray
    confidence: float

    def contrast(self, weights: Mapping[str, float]) -> Interval:
        """A weighted sum of the arms' accuracies with its percentile interval, e.g. of {"a": 1, "b": -1}."""
        columns = [self.names.index(name) for name in weights]
        factors = np.array(list(weights.values()), float)
        value, draws = (counts[..., columns] @ factors / self.n for counts in (self.right, self.draws))
        return Interval(float(value), *_percentiles(draws, self.confidence))


@dataclass(frozen=True)
class Pair:
    """Two arms: accuracy of `first` less `second`, images that one alone got right, McNemar's p, and Holm's."""

    first: str
    second: str
    difference: Interval
    p: float
    p_holm: float
    only_first: int
    only_second: int


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds. `spread` is the standard deviation over seeds, which a single one does not have."""

    interval: Interval
    spread: float | None
    seeds: int
    covers: str  # "images and seeds", or "images" for a single seed


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images are right, (N,): the largest logit (N, K) is the label's. Logits of -inf alone are no answer."""
    return (logits.argmax(1) == labels) & (logits.max(1) > -np.inf)


def accuracies(arms: Arms, labels: np.ndarray, *, confidence: float) -> dict[str, Interval]:
    """The accuracy of each arm with its Wilson score interval (Wilson 1927), which covers the choice of images."""
    return {name: share(correct(logits, labels), confidence) for name, logits in arms.items()}


def share(right: np.ndarray, confidence: float) -> Interval:
    """The share of images (n,) that are right, with Wilson's interval."""
    bounds = stats.binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
    return Interval(float(right.mean()), float(bounds.low), float(bounds.high))


def first_classes(
    arms: Arms, labels: np.ndarray, count: int, *, restricted: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Only the images of the first `count` classes.

    The full head is the report's own test: all K logits compete, so that an answer may be a class that is not tested.
    `restricted` to the first `count` logits, an arm is told which classes there are.
    """
    chosen = labels < count
    columns = slice(count) if restricted else slice(None)
    return {name: logits[chosen, columns] for name, logits in arms.items()}, labels[chosen]


def recall(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The accuracy on each class's images, (K,); every class has some."""
    right = correct(logits, labels)
    return np.array([right[labels == label].mean() for label in range(logits.shape[1])])


def resample(arms: Arms, labels: np.ndarray, *, confidence: float, resamples: int, seed: int) -> Resampled:
    """Draw the test images with replacement, each with all arms' answers: the paired bootstrap of all arms at once.

    What makes an image hard for both of two arms so does not widen the interval of their difference (Efron and
    Tibshirani 1993, chapter 13; the percentile interval).
    """
    right = {name: correct(logits, labels) for name, logits in arms.items()}
    return resample_shares(right, confidence=confidence, resamples=resamples, seed=seed)


def resample_shares(shares: Arms, *, confidence: float, resamples: int, seed: int) -> Resampled:
    """The same of arms that got a share (N,) of each image's versions right."""
    right = np.stack(list(shares.values()))  # (A, N)
    draws = np.concatenate(list(_draw(right, resamples, np.random.default_rng(seed))))
    return Resampled(tuple(shares), right.shape[1], right.sum(1), draws, confidence)


def _draw(values: np.ndarray, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Row sums of (A, N) over N columns drawn with replacement, some resamples at a time, (r, A).

    The sums depend on how often each distinct column came, and those counts are multinomial: drawing them is the same
    in distribution as drawing images, and cheaper where many images are alike.
    """
    distinct, counts = np.unique(values.T, axis=0, return_counts=True)  # (P, A), (P,)
    share = counts / counts.sum()
    step = max(1, 2_000_000 // len(distinct))  # some 30 MB at a time
    for start in range(0, resamples, step):
        drawn = rng.multinomial(values.shape[1], share, size=min(step, resamples - start))  # (r, P)
        yield drawn.astype(float) @ distinct.astype(float)  # whole numbers, exact


def _percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def pairs(arms: Arms, labels: np.ndarray, resampled: Resampled) -> list[Pair]:
    """Every two arms: the paired interval of their difference, and McNemar's exact test.

    The test asks whether the images that only one of the two got right fall to either side as a fair coin would
    (McNemar 1947); without such images p is 1. Holm 1979 adjusts all pairs' p together.
    """
    right = {name: correct(logits, labels) for name, logits in arms.items()}
    chosen = list(combinations(arms, 2))
    alone = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in chosen]
    p = [mcnemar(only_a, only_b) for only_a, only_b in alone]
    adjusted = holm(p)
    return [
        Pair(a, b, resampled.contrast({a: 1, b: -1}), p[i], float(adjusted[i]), *alone[i])
        for i, (a, b) in enumerate(chosen)
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
        resampled: the accuracies of at least the four arms.
        cells: the arm that stands in each cell of the 2 x 2 table: `resnet.frozen`, `resnet.finetuned` and so on.
    """
    return {
        name: resampled.contrast({cells[cell]: weight for cell, weight in weights.items()})
        for name, weights in EFFECTS.items()
    }


def over_seeds(
    first: np.ndarray, second: np.ndarray | None = None, *, confidence: float, resamples: int, seed: int
) -> OverSeeds:
    """The mean accuracy of one arm over seeds, or the mean difference of two, with an interval over seeds and images.

    The test images are the same under every seed, so that the two are crossed, not nested: images and seeds are drawn
    each on their own, and all pairs of them kept (the pigeonhole bootstrap, Owen 2007). Of S seeds S - 1 are drawn,
    since the variance of S draws would be too small by the factor (S - 1) / S (Rao and Wu 1988). Simulated, it covers
    the truth too often (99 in 100) where seeds differ by luck on single images, and too seldom where they differ as
    wholes by far more than images do: 90 in 100 for 3 seeds, 91 for 5, 95 for 10. With one seed images alone are drawn.

    Args:
        first: which images (S, N) the arm got right, by seed.
        second: the same of the other arm: seed by seed, on the same images.
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
