"""Accuracies and weighted sums of them, in shares and in log odds."""

import numpy as np
import pytest

from src.stats import contrasts
from src.stats.contrasts import Answers

GAP = {"a": 1, "b": -1}


def answers(right: dict[str, np.ndarray]) -> list[Answers]:
    """Of answers (S, N) by arm."""
    seeds, n = next(iter(right.values())).shape
    return [Answers(str(i), np.arange(n), {arm: part[i] for arm, part in right.items()}) for i in range(seeds)]


def drawn(n: int, **accuracy: float) -> list[Answers]:
    """Two seeds of arms with these accuracies on images that are hard for all alike."""
    hard = np.random.default_rng(0).random((1, n))
    noise = np.random.default_rng(1)
    return answers({arm: hard + 0.05 * noise.random((2, n)) < share for arm, share in accuracy.items()})


def test_an_accuracy_and_a_difference_worked_by_hand():
    """Over two seeds arm a is right on 6 and 8 of ten images, arm b on 5 and 3."""
    two = answers(
        {arm: np.array([np.arange(10) < k for k in counts]) for arm, counts in {"a": (6, 8), "b": (5, 3)}.items()}
    )
    accuracy, gap = contrasts.accuracy(two, "a", 0.95), contrasts.contrast(two, GAP, 0.95)
    assert (accuracy.value, accuracy.each) == (pytest.approx(0.7), {"0": 0.6, "1": 0.8})
    assert (gap.value, gap.each) == (pytest.approx(0.3), {"0": pytest.approx(0.1), "1": pytest.approx(0.5)})
    assert -1 <= gap.low < gap.value < gap.high <= 1


def test_what_makes_an_image_hard_for_both_does_not_widen_the_interval():
    both = drawn(4000, a=0.7, b=0.69)
    alone, gap = contrasts.accuracy(both, "a", 0.95), contrasts.contrast(both, GAP, 0.95)
    assert gap.se < alone.se / 2


def test_log_odds_are_those_of_the_shares():
    result = contrasts.log_odds(drawn(4000, a=0.9, b=0.6), GAP, 0.95)
    a, b = (contrasts.accuracy(drawn(4000, a=0.9, b=0.6), arm, 0.95).value for arm in "ab")
    assert result.value == pytest.approx(np.log(a / (1 - a)) - np.log(b / (1 - b)), abs=0.002)
    assert result.low < result.value < result.high


def test_the_standard_error_of_log_odds_of_one_arm_is_the_textbooks():
    """Under one seed: sqrt(1 / (n p q)), Agresti 2002, section 3.1."""
    right = np.arange(2000)[None] % 10 < 7
    result = contrasts.log_odds(answers({"a": right}), {"a": 1}, 0.95)
    assert result.se == pytest.approx((1 / (2000 * 0.7 * 0.3)) ** 0.5, rel=0.01)


def test_log_odds_of_arms_that_are_always_or_never_right_are_finite():
    right = np.ones((2, 30), bool)
    result = contrasts.log_odds(answers({"a": right, "b": ~right}), GAP, 0.95)
    assert np.isfinite([result.low, result.value, result.high, result.p]).all()
    assert result.low > 0


def test_an_interaction_may_be_gone_on_the_scale_of_log_odds():
    """From 0.5 to 0.7 and from 0.7 to 0.845 the odds grow alike, by 7 / 3; in points the second gain is smaller."""
    arms = {"a": 0.845, "b": 0.7, "c": 0.7, "d": 0.5}
    four = answers({arm: np.tile(np.arange(4000) < 4000 * share, (2, 1)) for arm, share in arms.items()})
    weights = {"a": 1, "b": -1, "c": -1, "d": 1}
    assert contrasts.contrast(four, weights, 0.95).value == pytest.approx(-0.055)
    assert contrasts.log_odds(four, weights, 0.95).value == pytest.approx(0, abs=0.005)
