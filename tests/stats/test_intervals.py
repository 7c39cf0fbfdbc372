"""Right answers, shares with Wilson's interval, and Holm's adjustment: against published ones and other programs."""

import numpy as np
import pytest
from statsmodels.stats import multitest

from src.stats import intervals


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(right, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    result = intervals.share(np.arange(n) < right, 0.95)
    assert result.value == pytest.approx(right / n)
    assert (result.low, result.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilsons_interval_worked_by_hand():
    """Half of 100 right: the middle is 1/2, and the half-width z / (1 + z^2/n) * sqrt(p q / n + z^2 / 4 n^2)."""
    z = 1.959964
    half = z / (1 + z**2 / 100) * (0.25 / 100 + z**2 / 40_000) ** 0.5
    result = intervals.share(np.arange(100) < 50, 0.95)
    assert (result.low, result.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


@pytest.mark.parametrize("n", [2, 10, 359, 10_000])
@pytest.mark.parametrize("right", [0, 1])
def test_an_interval_holds_its_value_even_where_all_or_nothing_is_right(n, right):
    result = intervals.share(np.full(n, right, bool), 0.95)
    assert 0 <= result.low <= result.value == right <= result.high <= 1


def test_more_confidence_is_a_wider_interval():
    result = [intervals.share(np.arange(50) < 30, confidence) for confidence in (0.8, 0.95, 0.99)]
    widths = [interval.high - interval.low for interval in result]
    assert widths == sorted(set(widths))


def test_logits_that_are_all_minus_infinity_are_no_right_answer():
    """Restricted to classes that a zero-shot arm does not know, it has nothing to say, and the first is no guess."""
    assert intervals.correct(np.array([[-np.inf, -np.inf], [-np.inf, 1]]), np.array([0, 1])).tolist() == [False, True]


def test_answers_of_several_seeds_are_judged_by_the_same_labels():
    logits = np.eye(3)[[[0, 1, 1], [2, 1, 2]]]  # two seeds, three images
    assert intervals.correct(logits, np.array([0, 1, 2])).tolist() == [[True, True, False], [False, True, True]]


def test_recall_is_the_accuracy_on_each_class():
    logits, labels = np.eye(3)[[0, 0, 1, 2, 2, 1]], np.array([0, 0, 1, 1, 1, 2])
    assert intervals.recall(logits, labels) == pytest.approx([1, 1 / 3, 0])
    assert intervals.recall(np.stack([logits, np.eye(3)[labels]]), labels) == pytest.approx([1, 2 / 3, 0.5])


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 66):
        p = rng.random(count) ** 3
        np.testing.assert_allclose(intervals.holm(p), multitest.multipletests(p, method="holm")[1])
    assert intervals.holm([]) == []


def test_the_effects_are_differences_of_the_cells_and_the_interaction_is_a_difference_of_differences():
    accuracy = {"resnet.frozen": 0.5, "resnet.finetuned": 0.8, "convnext.frozen": 0.7, "convnext.finetuned": 0.9}
    effects = {
        name: sum(weight * accuracy[cell] for cell, weight in weights.items())
        for name, weights in intervals.EFFECTS.items()
    }
    assert effects == pytest.approx({"backbone": 0.15, "finetuning": 0.25, "interaction": -0.1})
