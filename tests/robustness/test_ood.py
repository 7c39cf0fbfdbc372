"""Scores and areas are those worked by hand, and those of scikit-learn."""

import numpy as np
import pytest
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


def test_distance_is_that_of_directions_to_the_kth_nearest(monkeypatch):
    bank = np.array([[1, 0], [0, 5], [-2, 0]], np.float32)
    x = np.array([[7, 0]], np.float32)
    for k, expected in ((1, 0), (2, 2**0.5), (3, 2), (50, 2)):
        monkeypatch.setattr(ood, "NEIGHBOURS", k)
        np.testing.assert_allclose(ood.knn(x, bank), [expected], atol=1e-3)


@pytest.mark.parametrize("decimals", [8, 0])  # without ties and with many
def test_the_area_is_scikit_learns(decimals):
    known, unknown = rng().normal(0, 2, 70).round(decimals), rng(1).normal(1, 2, 40).round(decimals)
    parts = ood.placements(known, unknown)
    expected = roc_auc_score(np.r_[np.zeros(70), np.ones(40)], np.r_[known, unknown])
    assert parts.known.mean() == pytest.approx(expected)
    assert parts.unknown.mean() == pytest.approx(expected)
    assert ood.auroc({"a": parts}, {"a": 1}, confidence=0.95).value == pytest.approx(expected)


def test_the_interval_is_delongs_worked_out_pair_by_pair():
    known, unknown = rng().normal(0, 1, 30), rng(1).normal(1, 1, 20)
    wins = (unknown[None] > known[:, None]) + 0.5 * (unknown[None] == known[:, None])  # (n, m)
    variance = wins.mean(1).var(ddof=1) / 30 + wins.mean(0).var(ddof=1) / 20
    result = ood.auroc({"a": ood.placements(known, unknown)}, {"a": 1}, confidence=0.95)
    assert result.high - result.value == pytest.approx(1.959964 * variance**0.5)
    assert result.value - result.low == pytest.approx(result.high - result.value)


def test_the_interval_covers_the_area_as_often_as_it_says():
    covered = 0
    for seed in range(300):
        known, unknown = rng(seed).normal(0, 1, 60), rng(seed + 1000).normal(1, 1, 60)
        result = ood.auroc({"a": ood.placements(known, unknown)}, {"a": 1}, confidence=0.9)
        covered += result.low <= 0.76025 <= result.high  # P(N(1, 2) > 0)
    assert 0.86 < covered / 300 < 0.95


def test_a_difference_of_an_arm_with_itself_has_no_width():
    parts = ood.placements(rng().normal(0, 1, 30), rng(1).normal(1, 1, 20))
    result = ood.auroc({"a": parts, "b": parts}, {"a": 1, "b": -1}, confidence=0.95)
    assert (result.value, result.low, result.high) == (0, 0, 0)


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
