"""The linear probe: logistic regression whose L2 regularisation is chosen on validation images."""

import warnings
from typing import Any

import numpy as np

from src.readouts.base import Features, Readout
from src.stats.scores import accuracy, nll

# The values of C, the inverse of the regularisation, as in Ericsson et al. 2021 and DINOv2.
C_GRID = np.logspace(-6, 5, 45)
SEARCHED = 10_000  # the most images for the coarse search
# The most iterations and the tolerance of the gradient, for the coarse search and the fine one, whose fits stop early
# because they only rank values of C, and for the final fit.
SEARCH, RANK, REFIT = (100, 1e-3), (100, 3e-4), (1000, 1e-4)

Fit = tuple[float, float, Any]  # accuracy and negative log-likelihood on validation, classifier


def linear(features: Features) -> Readout:
    """L2-regularised multinomial logistic regression on standardised features, with C chosen by validation accuracy.

    The grid is first searched coarsely, from the strongest regularisation on and with at most 10,000 training images
    (C weighs the sum of their losses against a prior, which does not depend on their number). The search ends when the
    validation likelihood did not improve three times in a row, because weaker regularisation overfits more and takes
    longest. Then the values around the best one are tried on all training images; of equals, the strongest wins. Each
    fit starts from that of the next stronger C and stops early, and the chosen C is fitted again to convergence. The
    final fit uses the training images only: all arms learn from the same images, and validation images stay unseen for
    calibration.
    """
    mean, std = features.train.mean(0), features.train.std(0)
    std[std < 1e-6] = 1  # a constant feature carries no information; dividing by rounding noise would add some

    def scale(x: np.ndarray) -> np.ndarray:
        return ((x - mean) / std).astype(np.float32)

    train, val = scale(features.train), scale(features.val)
    c, start = _search(train, features.train_labels, val, features.val_labels)
    model = _fit(train, features.train_labels, c, start=start, budget=REFIT)
    return Readout(
        lambda x: _binary_logits(model.decision_function(scale(x))),
        images=len(train) + len(val),
        parameters=(train.shape[1] + 1) * features.classes,
        chosen={"c": c, "configurations": len(C_GRID)},
        affine={
            "mean": mean,
            "std": std,
            "weight": _binary_weights(model.coef_),
            "bias": _binary_weights(model.intercept_),
        },
    )


def _search(train: np.ndarray, labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray) -> tuple[float, Any]:
    """The value of `C_GRID` with the best validation accuracy, and a classifier near its optimum."""

    def attempt(position: int, x: np.ndarray, y: np.ndarray, start: Any, budget: tuple[int, float]) -> Fit:
        model = _fit(x, y, C_GRID[position], start=start, budget=budget)
        logits = _binary_logits(model.decision_function(val))
        return accuracy(logits, val_labels), nll(logits, val_labels), model

    step = -(-len(labels) // SEARCHED)
    sample = np.concatenate([np.flatnonzero(labels == label)[::step] for label in range(int(labels.max()) + 1)])
    coarse: dict[int, Fit] = {}
    worse, model = 0, None
    for position in range(0, len(C_GRID), 4):
        coarse[position] = attempt(position, train[sample], labels[sample], model, SEARCH)
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
    """Fit a classifier from the weights of another one, `start`, or from zero.

    Args:
        budget: the most iterations, and the tolerance of the gradient.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    max_iter, tol = budget
    model = LogisticRegression(C=c, max_iter=max_iter, tol=tol, warm_start=True)
    if start is not None:
        model.coef_, model.intercept_ = start.coef_.copy(), start.intercept_.copy()
    # Its matrix products have K columns and wait for memory. A second BLAS thread gains nothing, and if another process
    # uses its core, both threads take several times as long.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # The search stops early on purpose, and fits of separable data with little regularisation never converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, labels)


def _binary_logits(scores: np.ndarray) -> np.ndarray:
    """Logits (n, K) of scikit-learn's scores; for two classes it has a single score, and the logits are (0, score)."""
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    return scores.astype(np.float32)


def _binary_weights(rows: np.ndarray) -> np.ndarray:
    """The same for its weights and biases: for two classes scikit-learn has one row, that of the second class."""
    return np.concatenate([np.zeros_like(rows), rows]) if len(rows) == 1 else rows
