"""Scores and areas are those worked by hand, and those of scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from src.robustness import ood


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_scores_worked_by_hand():
    logits = np.log(np.array([[1.0, 3.0], [2.0, 2.0]], np.float32))
    np.testing.assert_allclose(ood.msp(logits), [-0.75, -0.5], rtol=1e-6)
    np.testing.assert_allclose(ood.energy(logits), [-np.log(4), -np.log(4)], rtol=1e-6)
    np.testing.assert_allclose(ood.energy(logits + 5), [-np.log(4) - 5] * 2, rtol=1e-6)


def test_classes_that_cannot_be_answered_leave_the_scores_finite():
    logits = np.array([[0.0, -np.inf, 0.0]], np.float32)
    assert ood.msp(logits).tolist() == [-0.5]
    assert ood.energy(logits)[0] == pytest.approx(-np.log(2))


def test_distance_is_that_of_directions_to_the_nearest_of_a_small_bank():
    bank = np.array([[1, 0], [0, 5], [-2, 0]], np.float32)
    np.testing.assert_allclose(ood.knn(np.array([[7, 0], [3, 3]], np.float32), bank), [0, 2**-0.5 * 1.0824], atol=1e-3)


@pytest.mark.parametrize(("size", "k"), [(400, 1), (900, 1), (2000, 2), (5000, 5)])
def test_the_neighbour_is_one_in_a_thousand_of_the_bank(size, k):
    """Eight directions, each 0.1 further away than the one before, and all others opposite."""
    angles = np.full(size, np.pi)
    angles[:8] = 0.1 * np.arange(8)
    bank = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    expected = 2 * np.sin(0.1 * (k - 1) / 2)
    np.testing.assert_allclose(ood.knn(np.array([[1.0, 0.0]]), bank), [expected], atol=1e-3)


@pytest.mark.parametrize("decimals", [8, 0])  # without ties and with many
def test_the_area_is_scikit_learns(decimals):
    known, unknown = rng().normal(0, 2, 70).round(decimals), rng(1).normal(1, 2, 40).round(decimals)
    parts = ood.placements(known, unknown)
    expected = roc_auc_score(np.r_[np.zeros(70), np.ones(40)], np.r_[known, unknown])
    assert parts.known.mean() == pytest.approx(expected)
    assert parts.unknown.mean() == pytest.approx(expected)
    assert ood.auroc(parts, confidence=0.95).value == pytest.approx(expected)


def test_the_interval_is_delongs_worked_out_pair_by_pair_on_the_scale_of_log_odds():
    known, unknown = rng().normal(0, 1, 30), rng(1).normal(1, 1, 20)
    wins = (unknown[None] > known[:, None]) + 0.5 * (unknown[None] == known[:, None])  # (n, m)
    area, variance = wins.mean(), wins.mean(1).var(ddof=1) / 30 + wins.mean(0).var(ddof=1) / 20
    result = ood.auroc(ood.placements(known, unknown), confidence=0.95)
    reach = 1.959964 * variance**0.5 / (area * (1 - area))
    odds = area / (1 - area)
    for bound, expected in ((result.low, odds / np.exp(reach)), (result.high, odds * np.exp(reach))):
        assert bound / (1 - bound) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "apart"), [(60, 1.0), (200, 3.475), (1000, 3.475)])  # areas of 0.760, and of 0.993
def test_the_interval_covers_the_area_as_often_as_it_says(size, apart):
    """Two normal distributions: the area is P(N(apart, 2) > 0). On its own scale, 0.89 of DeLong's cover 0.993."""
    area, covered = stats.norm.cdf(apart / 2**0.5), 0
    for seed in range(1500):
        known, unknown = rng(seed).normal([[0], [apart]], 1, (2, size))
        result = ood.auroc(ood.placements(known, unknown), confidence=0.95)
        covered += result.low <= area <= result.high
    assert 0.92 <= covered / 1500 <= 0.97


def test_an_area_of_one_or_none_has_a_bound_worked_by_hand():
    """Of 20 pairs that share no image, all are in order with probability 0.025 if one is with 0.8316 = 0.025^(1/20)."""
    low, high = np.arange(30.0), np.arange(100.0, 120.0)
    result = ood.auroc(ood.placements(low, high), confidence=0.95)
    assert (result.value, result.high) == (1, 1)
    assert result.low == pytest.approx(0.8316, abs=1e-4)
    result = ood.auroc(ood.placements(high, low), confidence=0.95)
    assert (result.value, result.low) == (0, 0)
    assert result.high == pytest.approx(1 - 0.8316, abs=1e-4)


def test_what_passes_where_95_in_100_do_worked_by_hand():
    known = np.arange(100.0)  # 0..94 pass at a threshold of 94
    assert ood.fpr95(known, np.array([10.0, 94.0, 94.5, 200.0])) == 0.5
    assert ood.fpr95(known, np.array([-1.0, -2.0])) == 1
    assert ood.fpr95(known, np.array([99.0])) == 0


@pytest.mark.parametrize(("dataset", "name"), [("cifar10", "digits"), ("digits", "photographs")])
def test_another_dataset_is_shown_in_the_form_of_this_one(dataset, name):
    for count, side in ((6, (32, 32)), (5, (8, 8)), (3, (20, 33))):
        called, result = ood.far(dataset, count, *side, rng())
        assert name in called
        assert result.shape == (count, *side, 3)
        assert result.dtype == np.uint8
        assert result.std() > 20
    assert np.array_equal(result, ood.far(dataset, count, *side, rng())[1])


def test_digits_reach_from_black_to_white():
    _, result = ood.far("cifar10", 2000, 32, 32, rng())
    assert len(result) == 1797
    assert (result.min(), result.max()) == (0, 255)
