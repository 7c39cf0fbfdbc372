"""The linear probe: logistic regression whose L2 regularisation is chosen on validation images."""

import warnings
from typing import Any

import numpy as np

from src.core.grid import around
from src.readouts.base import Features, Readout
from src.stats.scores import accuracy

# The middle of the values of C, the inverse of the regularisation, decades between neighbours, and decades from the
# middle at most. The best C was nearly always from 0.001 to 0.1 on CIFAR-10 and from 0.03 to 3 on digits
# (docs/budgets.md). Ericsson et al. 2021 and DINOv2 try 45 values from 1e-6 to 1e5.
CENTRE, STEP, REACH = 0.01, 1.0, 4.0
# The most iterations and the tolerance of the gradient: of the fits that stop early because they only rank values of C,
# and of the final one.
RANK, REFIT = (100, 3e-4), (1000, 1e-4)


def strengths(configurations: int) -> list[float]:
    """So many values of C, the strongest regularisation first; up to nine are a decade apart."""
    return sorted(around(CENTRE, configurations, step=STEP, reach=REACH))


def linear(features: Features, configurations: int) -> Readout:
    """L2-regularised multinomial logistic regression on standardised features, with C chosen by validation accuracy.

    Every value of C is tried on all training images; of equals, the strongest regularisation wins. Each fit starts from
    that of the next stronger C and stops early, and the chosen C is fitted again to convergence. The final fit uses the
    training images only, as all arms do.
    """
    mean, std = features.train.mean(0), features.train.std(0)
    std[std < 1e-6] = 1  # a constant feature carries no information; dividing by rounding noise would add some

    def scale(x: np.ndarray) -> np.ndarray:
        return ((x - mean) / std).astype(np.float32)

    train, val = scale(features.train), scale(features.val)
    grid = strengths(configurations)
    tried, reached = _try(train, features.train_labels, val, features.val_labels, grid)
    best = int(np.argmax(reached))  # of equals, the first
    model = _fit(train, features.train_labels, grid[best], start=tried[best] if tried else None, budget=REFIT)
    # Of equals the strongest was taken; then a value between is no worse than that at the edge.
    at_edge = best in (0, len(grid) - 1) and reached.count(max(reached)) == 1
    found = {"tried": grid, "tried_accuracies": reached, "at_edge": at_edge} if tried else {}
    return Readout(
        lambda x: _binary_logits(model.decision_function(scale(x))),
        images=len(train) + (len(val) if tried else 0),
        parameters=(train.shape[1] + 1) * features.classes,
        chosen={"c": grid[best], "configurations": configurations, **found},
        affine={
            "mean": mean,
            "std": std,
            "weight": _binary_weights(model.coef_),
            "bias": _binary_weights(model.intercept_),
        },
        fit_macs=sum(_macs(fit, train) for fit in (*tried, model)) + len(tried) * val.size * len(model.coef_),
    )


def _try(
    train: np.ndarray, labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray, grid: list[float]
) -> tuple[list[Any], list[float]]:
    """A classifier near the optimum of every C, and its validation accuracy; no classifier if there is no choice."""
    if len(grid) == 1:
        return [], [0.0]
    models: list[Any] = []
    for c in grid:
        models.append(_fit(train, labels, c, start=models[-1] if models else None, budget=RANK))
    return models, [accuracy(_binary_logits(model.decision_function(val)), val_labels) for model in models]


def _macs(model: Any, train: np.ndarray) -> int:
    """Multiply-accumulates of a fit: an iteration multiplies the features by the weights, and by the residuals.

    The line search may look at more points than one in an iteration, which scikit-learn does not tell.
    """
    return 2 * train.size * len(model.coef_) * (int(model.n_iter_[0]) + 1)


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
