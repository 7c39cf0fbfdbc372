"""The linear probe: L2-regularised logistic regression, its strength chosen on validation images."""

import warnings
from typing import Any

import numpy as np

from src.readouts.base import Features, Readout
from src.stats.scores import accuracy, nll

# Strengths tried by `linear`, as in linear-probe evaluations such as Ericsson et al. 2021 and DINOv2.
C_GRID = np.logspace(-6, 5, 45)


# The search of `linear` ranks strengths by fits that stop early; only the chosen one is worth the way to the optimum.
SEARCHED = 10_000  # images, at most, for the coarse search
# At most so many iterations, and the gradient that is small enough.
SEARCH, RANK, REFIT = (100, 1e-3), (100, 3e-4), (1000, 1e-4)

Fit = tuple[float, float, Any]  # accuracy and negative log-likelihood on validation, classifier


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
        chosen={"c": c, "configurations": len(C_GRID)},
        affine={
            "mean": mean,
            "std": std,
            "weight": _both(model.coef_),
            "bias": _both(model.intercept_),
        },
    )


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
