"""Convergence: when a training ends early, and what its curve says."""

import pytest

from src.finetune import checkpoint
from src.finetune.checkpoint import Epoch, TrainState


def epochs(*accuracies: float, whole: bool = True) -> list[Epoch]:
    return [Epoch(number, 0.5, 0.5, 0.5, value, whole, 100, 1.0) for number, value in enumerate(accuracies, 1)]


@pytest.mark.parametrize(
    ("accuracies", "patience", "over"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.4), 1, True),
        ((0.5, 0.6), 1, False),
        ((0.5, 0.4, 0.6, 0.5), 2, False),
        ((0.6, 0.4, 0.5), 2, True),
        ((0.6, 0.5, 0.5, 0.5), None, False),
    ],
)
def test_a_phase_is_over_after_so_many_epochs_without_a_better_one(accuracies, patience, over):
    assert TrainState(history=epochs(*accuracies)).should_stop(1, patience) is over


def test_a_lower_loss_at_the_same_accuracy_is_better():
    first = Epoch(1, 0.5, 0.5, 0.5, 0.8, True, 100, 1.0)
    assert TrainState(history=[first, Epoch(2, 0.5, 0.5, 0.6, 0.8, True, 100, 1.0)]).should_stop(1, 1)
    assert not TrainState(history=[first, Epoch(2, 0.5, 0.5, 0.4, 0.8, True, 100, 1.0)]).should_stop(1, 1)


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ((0.5,), "too short to tell: 1 epoch"),
        ((0.5, 0.6), "too short to tell: 2 epochs"),
        ((0.50, 0.60, 0.62, 0.64), "still improving: +4.0 points over the last 2 epochs"),
        ((0.50, 0.60, 0.62, 0.61), "still improving: +2.0 points over the last 2 epochs"),
        ((0.50, 0.60, 0.60, 0.59), "settled: +0.0 points over the last 2 epochs"),
        ((0.50, 0.60, 0.58, 0.59), "settled: -1.0 points over the last 2 epochs"),
        ((0.50, 0.60, 0.601, 0.604), "settled within the noise of 1,000 images: +0.4 points over the last 2 epochs"),
    ],
)
def test_a_curve_is_judged_by_its_last_two_epochs(accuracies, said):
    """Of 1,000 images at 0.6, the standard error is 1.5 points."""
    assert checkpoint.curve_verdict(epochs(*accuracies), 1000) == said


def test_a_probe_is_not_judged_together_with_what_followed_it():
    history = epochs(0.9, 0.9, 0.9, whole=False) + epochs(0.5, 0.6, 0.7)
    assert checkpoint.curve_verdict(history, 1000) == "still improving: +20.0 points over the last 2 epochs"
