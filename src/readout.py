"""Features of a frozen backbone -> K-way logits. For the stages that evaluate frozen arms.

Each read-out takes `Features` and returns a `Readout`, which turns any features (n, D) into logits (n, K).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src import zero_shot
from src.errors import UserError
from src.metrics import accuracy, nll
from src.neighbours import most_similar, unit
from src.zero_shot import Head

Logits = Callable[[np.ndarray], np.ndarray]

# Strengths tried by `linear`, as in linear-probe evaluations such as Ericsson et al. 2021 and DINOv2.
C_GRID = np.logspace(-6, 5, 45)
# Of `knn`: the temperature of Wu et al. 2018, the numbers of neighbours that DINO (Caron et al. 2021) tries.
NEIGHBOURS, TEMPERATURE = (10, 20, 100, 200), 0.07
# The search of `linear` ranks strengths by fits that stop early; only the chosen one is worth the way to the optimum.
SEARCHED = 10_000  # images, at most, for the coarse search
# At most so many iterations, and the gradient that is small enough.
SEARCH, RANK, REFIT = (100, 1e-3), (100, 3e-4), (1000, 1e-4)

Fit = tuple[float, float, Any]  # accuracy and negative log-likelihood on validation, classifier


@dataclass(frozen=True)
class Readout:
    """`logits` maps (n, D) -> (n, K) float32; `chosen` is what was selected on validation images.

    `images` is how many images it needed the features of before it could be used: training and validation;
    `parameters` how many numbers were trained; `val_logits` (n, K) are those of the validation images where fitting
    computed them. Of a read-out that is affine, (x - mean) / std @ weight.T + bias, `affine` holds these: mean and std
    (D,), weight (K, D), bias (K,).
    """

    logits: Logits
    images: int = 0
    parameters: int = 0
    val_logits: np.ndarray | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    affine: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """Features (n, D) and labels (n,) in 0..K-1 of the training and the validation images."""

    train: np.ndarray
    train_labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray

    @property
    def classes(self) -> int:
        """K: every class has training images."""
        return int(self.train_labels.max()) + 1


def random_head(features: Features, *, rng: np.random.Generator) -> Readout:
    """The report's protocol: a new linear layer that nobody trains, drawn as PyTorch draws nn.Linear."""
    width = features.train.shape[1]
    bound = 1 / np.sqrt(width)
    weight = rng.uniform(-bound, bound, (width, features.classes)).astype(np.float32)
    bias = rng.uniform(-bound, bound, features.classes).astype(np.float32)
    same = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    return Readout(lambda x: x @ weight + bias, affine={**same, "weight": weight.T, "bias": bias})


def centroid(features: Features) -> Readout:
    """Nearest class mean: minus the squared Euclidean distance to it, as in Snell et al. 2017 (prototypical networks).

    Features are first centred on the training images' mean and scaled to length 1, SimpleShot's CL2N (Wang et al.
    2019), for what all images share would outweigh what tells them apart.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    mean = features.train.mean(0)
    train, labels = unit(features.train - mean), features.train_labels
    means = np.stack([train[labels == label].mean(0) for label in range(features.classes)])  # (K, D)
    return Readout(
        lambda x: -euclidean_distances(unit(x - mean), means, squared=True).astype(np.float32), len(features.train)
    )


def knn(features: Features) -> Readout:
    """The k training images of most similar direction vote, each by exp(cosine / 0.07) (Wu et al. 2018).

    k is chosen on validation accuracy among 10, 20, 100 and 200, as far as there are so many training images (all of
    them where there are fewer than 10); ties go to the smaller. A logit is the logarithm of a class's votes; a class
    without any has those of one neighbour in the opposite direction, the fewest there can be, so that it is finite.
    """
    train, labels, classes = unit(features.train), features.train_labels, features.classes

    def votes(similar: np.ndarray, voters: np.ndarray) -> np.ndarray:
        cells = np.arange(len(voters))[:, None] * classes + voters  # (n, k), into (n, K)
        total = np.bincount(cells.ravel(), np.exp(similar / TEMPERATURE).ravel(), len(voters) * classes)
        return np.log(np.maximum(total, np.exp(-1 / TEMPERATURE))).reshape(-1, classes).astype(np.float32)

    def search(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similar, nearest = most_similar(unit(x), train, k)
        return similar, labels[nearest]

    tried = [k for k in NEIGHBOURS if k <= len(labels)] or [len(labels)]
    similar, voters = search(features.val, tried[-1])
    val_logits = {k: votes(similar[:, :k], voters[:, :k]) for k in tried}
    best = max(tried, key=lambda k: accuracy(val_logits[k], features.val_labels))  # of equals, the first
    return Readout(
        lambda x: votes(*search(x, best)),
        len(labels) + len(features.val),
        val_logits=val_logits[best],
        chosen={"k": best},
    )


def linear(features: Features) -> Readout:
    """L2-regularised multinomial logistic regression on standardised features, C chosen on validation accuracy.

    The grid is searched coarsely from the strongest regularisation on, on at most 10,000 of the training images (C
    weighs the sum of their losses against a prior, which does not change with their number), until the validation
    likelihood has not got better three times in a row (weaker ones overfit more, and take longest); then around the
    best, on all of them; ties go to the stronger. Each fit starts from that of the next stronger C and stops early; the
    chosen C is refitted to convergence. That is on the training images alone, so that every arm learns from the same
    images and the validation images remain unseen for whoever calibrates.
    """
    mean, std = features.train.mean(0), features.train.std(0)
    std[std < 1e-6] = 1  # a feature that never varies says nothing; dividing by its noise would

    def scale(x: np.ndarray) -> np.ndarray:
        return ((x - mean) / std).astype(np.float32)

    train, val = scale(features.train), scale(features.val)
    c, near = _search(train, features.train_labels, val, features.val_labels)
    model = _fit(train, features.train_labels, c, start=near, budget=REFIT)
    return Readout(
        lambda x: _two_sided(model.decision_function(scale(x))),
        images=len(train) + len(val),
        parameters=(train.shape[1] + 1) * features.classes,
        chosen={"c": c},
        affine={
            "mean": mean,
            "std": std,
            "weight": _both(model.coef_),
            "bias": _both(model.intercept_),
        },
    )


def fit(
    name: str, features: Features, *, rng: np.random.Generator, head: Head | None, classes: Sequence[str]
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


def _zero_shot(head: Head | None, classes: Sequence[str]) -> Readout:
    why = zero_shot.unavailable(classes, head)
    if head is None or why:
        raise UserError(why)
    return Readout(lambda x: zero_shot.logits(x, head, classes))


def _search(train: np.ndarray, labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray) -> tuple[float, Any]:
    """The strength of C_GRID that is most accurate on validation, and a classifier near its optimum."""

    def attempt(position: int, x: np.ndarray, y: np.ndarray, start: Any, budget: tuple[int, float]) -> Fit:
        model = _fit(x, y, C_GRID[position], start=start, budget=budget)
        logits = _two_sided(model.decision_function(val))
        return accuracy(logits, val_labels), nll(logits, val_labels), model

    step = -(-len(labels) // SEARCHED)
    some = np.concatenate([np.flatnonzero(labels == label)[::step] for label in range(int(labels.max()) + 1)])
    coarse: dict[int, Fit] = {}
    worse, model = 0, None
    for position in range(0, len(C_GRID), 4):
        coarse[position] = attempt(position, train[some], labels[some], model, SEARCH)
        model = coarse[position][2]
        worse = worse + 1 if position and coarse[position][1] >= coarse[position - 4][1] else 0
        if worse == 3:
            break
    middle = max(coarse, key=lambda position: coarse[position][0])  # of equals, the first

    fine: dict[int, Fit] = {}
    model = coarse[max(0, middle - 4)][2]
    for position in range(max(0, middle - 3), min(len(C_GRID), middle + 4)):
        fine[position] = attempt(position, train, labels, model, RANK)
        model = fine[position][2]
    best = max(fine, key=lambda position: fine[position][0])
    return float(C_GRID[best]), fine[best][2]


def _fit(x: np.ndarray, labels: np.ndarray, c: float, *, start: Any, budget: tuple[int, float]) -> Any:
    """A classifier whose iterations begin at another one's weights, or at zero."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    max_iter, tol = budget
    model = LogisticRegression(C=c, max_iter=max_iter, tol=tol, warm_start=True)
    if start is not None:
        model.coef_, model.intercept_ = start.coef_.copy(), start.intercept_.copy()
    # Its products are K columns thin and wait for memory: a second BLAS thread gains nothing, and where other processes
    # want the core too it costs several times the time.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # The search stops early on purpose, and nearly unregularised fits of separable data never converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, labels)


def _two_sided(scores: np.ndarray) -> np.ndarray:
    """scikit-learn gives one score for two classes; as logits these are (0, score)."""
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    return scores.astype(np.float32)


def _both(rows: np.ndarray) -> np.ndarray:
    """Likewise of its weights: those of the second class, in a first dimension of 1."""
    return np.concatenate([np.zeros_like(rows), rows]) if len(rows) == 1 else rows
