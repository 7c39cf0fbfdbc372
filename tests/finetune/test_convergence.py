"""Convergence: when a training ends early, and what its curve says."""

import numpy as np
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
    ("accuracies", "images", "said"),
    [
        ((0.5,), 1000, "too short to tell: 1 epoch"),
        ((0.5, 0.6, 0.7), 1000, "too short to tell: 3 epochs"),
        ((0.5, 0.5, 0.6, 0.5), 1000, "still improving: +10.0 +- 4.3 points over the last 2 epochs"),
        ((0.9, 0.5, 0.5, 0.5, 0.6), 1000, "still improving: +10.0 +- 4.3 points over the last 2 epochs"),
        ((0.5, 0.6, 0.6, 0.64), 1000, "cannot tell: +4.0 +- 4.2 points over the last 2 epochs"),
        ((0.5, 0.6, 0.58, 0.59), 1000, "cannot tell: -1.0 +- 4.3 points over the last 2 epochs"),
        ((0.5, 0.6, 0.601, 0.59), 100_000, "settled: +0.1 +- 0.4 points over the last 2 epochs"),
        ((0.5, 0.6, 0.608, 0.59), 100_000, "still improving: +0.8 +- 0.4 points over the last 2 epochs"),
        ((0.8, 0.8, 0.6, 0.6), 1000, "settled: -20.0 +- 3.9 points over the last 2 epochs"),
        ((1.0, 1.0, 1.0, 1.0), 20, "cannot tell: +0.0 +- 12.3 points over the last 2 epochs"),
    ],
)
def test_a_curve_is_judged_by_its_last_two_epochs_and_the_two_before(accuracies, images, said):
    """Of two accuracies of 0.5 and 0.6 on 1,000 images, 1.96 standard errors of the difference are 4.3 points."""
    assert checkpoint.curve_verdict(epochs(*accuracies), images) == said


def words(expected: np.ndarray, images: int) -> list[str]:
    """What is said of 2,000 curves of these expected accuracies (epochs,) on so many images."""
    curves = np.random.default_rng(0).binomial(images, expected, (2000, len(expected))) / images
    return [checkpoint.curve_verdict(epochs(*curve), images).split(":")[0] for curve in curves.tolist()]


@pytest.mark.parametrize(
    ("expected", "images"),
    [
        (0.6 + 0.005 * np.arange(20), 500),  # half a point an epoch
        (np.linspace(0.55, 0.64, 5), 100),  # five epochs, after which fifteen more gained seven points
    ],
)
def test_a_curve_that_rises_within_the_noise_is_not_called_settled(expected, images):
    said = words(expected, images)
    assert said.count("settled") < 0.01 * len(said)
    assert said.count("cannot tell") > 0.8 * len(said)


def test_a_flat_curve_is_called_settled_where_the_images_suffice_and_seldom_improving():
    said = words(np.full(8, 0.9), 50_000)
    assert said.count("settled") > 0.9 * len(said)
    assert words(np.full(8, 0.9), 500).count("still improving") < 0.05 * len(said)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_gain_at_the_end_of_a_falling_schedule_is_said_to_be_that(schedule):
    """Its accuracies are those of a rising curve, though no further epoch follows."""
    said = checkpoint.curve_verdict(epochs(0.5, 0.5, 0.6, 0.7), 1000, schedule)
    assert said.endswith(f"; the {schedule} schedule ends there, and more epochs would be another curve")


def test_a_probe_is_not_judged_together_with_what_followed_it():
    history = epochs(0.9, 0.9, 0.9, whole=False) + epochs(0.5, 0.6, 0.7, 0.7)
    assert checkpoint.curve_verdict(history, 1000) == "still improving: +10.0 +- 4.2 points over the last 2 epochs"
