"""Our runs of the report's protocol beside its published values: bands, tables, what is inside; pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.core.records import Environment, Interval
from src.reproduction import heads
from src.reproduction.prediction import Band, further_run, image_variance, simultaneous
from src.reproduction.published import BAR_IMAGES, Published
from src.settings.settings import Settings
from src.stats import intervals

HEADS = 1000


@dataclass(frozen=True)
class Run:
    """One experiment under `protocol: report`: the first K classes, S seeds.

    Args:
        curves: by name of `published.CURVES`, (S, epochs).
        right: of the augmented test images after the last epoch, (S, n) 0 or 1.
        losses: their cross-entropy in nats, (S, n).
        bar: right answers of the network on the plain test images of the first two classes, (S, m) 0 or 1.
        head: right answers of the untrained head on the same images.
    """

    name: str
    k: int
    settings: Settings
    environment: Environment
    curves: Mapping[str, np.ndarray]
    right: np.ndarray
    losses: np.ndarray
    bar: np.ndarray
    head: np.ndarray


@dataclass(frozen=True)
class Row:
    """One published value beside our runs.

    Args:
        values: of our runs, by seed.
        one: the band of one further run, at the confidence of a single value.
        all: the same where all values of its table hold at once.
        same_images: the same as `all` for a further run on the same test images.
    """

    k: int
    name: str
    published: float
    values: tuple[float, ...]
    one: Band
    all: Band
    same_images: Band

    @property
    def inside(self) -> bool:
        return self.all.holds(self.published)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each image (n,) in nats, of logits (n, K)."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def shared_variance(run: Run, curve: str) -> np.ndarray:
    """The variance that the choice of test images gives to a curve's mean, after each epoch (epochs,).

    It is measured at the last epoch, whose predictions are saved. An accuracy a has it in proportion to a (1 - a), as
    answers are right or wrong; a loss has it as it is. Training curves do not depend on test images.
    """
    means = run.curves[curve].mean(0)
    if curve == "val_accuracy":
        spread = means * (1 - means)
        return image_variance(run.right) * spread / max(spread[-1], 1 / run.right.size)
    return np.full(len(means), image_variance(run.losses) if curve == "val_loss" else 0.0)


def bands(run: Run, curve: str, confidence: float) -> list[Band]:
    """The band of one further run after each epoch."""
    shared = shared_variance(run, curve)
    n = run.right.shape[1]
    highest = 1.0 if curve.endswith("accuracy") else np.inf
    return [
        further_run(values, w, n, confidence).possible(highest)
        for values, w in zip(run.curves[curve].T, shared, strict=True)
    ]


def validation_rows(runs: Sequence[Run], published: Published, confidence: float) -> list[Row]:
    """Every validation accuracy, K by K and epoch by epoch."""
    count = sum(run.curves["val_accuracy"].shape[1] for run in runs)
    rows = []
    for run in runs:
        shared, n = shared_variance(run, "val_accuracy"), run.right.shape[1]
        for epoch, values in enumerate(run.curves["val_accuracy"].T):
            theirs = published.curves["val_accuracy"][run.k][epoch]
            rows.append(_row(run.k, f"epoch {epoch + 1}", theirs, values, shared[epoch], n, confidence, count))
    return rows


def bar_rows(runs: Sequence[Run], published: Published, confidence: float) -> list[Row]:
    """The bars: each network on the first two classes, and the untrained head, in shares of their images."""
    bars = [(run.k, f"{run.k} classes", published.bars[run.k], run.bar) for run in runs]
    bars.append((runs[0].k, "untrained head", published.head, runs[0].head))
    return [
        _row(
            k,
            name,
            count / BAR_IMAGES,
            right.mean(1),
            image_variance(right),
            right.shape[1],
            confidence,
            len(bars),
        )
        for k, name, count, right in bars
    ]


def _row(
    k: int, name: str, theirs: float, values: np.ndarray, shared: float, n: int, confidence: float, count: int
) -> Row:
    level = simultaneous(confidence, count)
    means = tuple(float(value) for value in values)
    one, every, same = (
        further_run(means, w, n, at).possible(1.0) for w, at in ((shared, confidence), (shared, level), (0.0, level))
    )
    return Row(k, name, theirs, means, one, every, same)


@dataclass(frozen=True)
class Heads:
    """Untrained heads on the modern backbone: how many of `count` reach the published bar, and what they get right.

    Args:
        share: of heads that reach it, with its interval.
        low, high: the right answers between which the confidence's share of the heads lies, of `images`.
    """

    count: int
    reached: int
    share: Interval
    images: int
    needed: int
    low: float
    high: float


def many_heads(features: np.ndarray, labels: np.ndarray, published: int, confidence: float) -> Heads:
    """What `HEADS` untrained heads get right on test images of two classes.

    Args:
        features: (n, D) of these images by the modern backbone.
        labels: (n,), 0 or 1.
        published: right answers of `BAR_IMAGES`; of another number of images the same share is needed.
    """
    needed = int(np.ceil(published * len(labels) / BAR_IMAGES))
    right = heads.right_of_random_heads(features, labels, HEADS, np.random.default_rng(0))
    low, high = np.quantile(right, [(1 - confidence) / 2, (1 + confidence) / 2])
    reached = right >= needed
    share = intervals.share(reached, confidence)
    return Heads(HEADS, int(reached.sum()), share, len(labels), needed, float(low), float(high))


def outside(rows: Sequence[Row]) -> list[str]:
    """The rows whose published value is outside, in words."""
    return [f"{row.k} classes, {row.name}" for row in rows if not row.inside]
