"""Comparing arms: intervals against published ones, and differences that know which images are the same."""

import numpy as np
import pytest

from src import compare, seeds
from src.compare import Interval


def arm(right: np.ndarray) -> np.ndarray:
    """Logits of two classes that are right, for labels of zero, where `right` is."""
    return np.stack([right, 1 - np.asarray(right)], axis=1).astype(np.float32)


def lead(*rights: np.ndarray, resamples: int = 2000, confidence: float = 0.95, seed: int = 0) -> list[Interval]:
    """How far the first arm is ahead of each other one."""
    arms = {str(number): arm(right) for number, right in enumerate(rights)}
    labels = np.zeros(len(rights[0]), np.int64)
    return list(
        compare.lead(
            arms, labels, confidence=confidence, resamples=resamples, seed=seeds.derive(seed, "bootstrap")
        ).values()
    )


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(right, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    arms = {"arm": arm(np.arange(n) < right)}
    found = compare.accuracies(arms, np.zeros(n, np.int64), confidence=0.95)["arm"]
    assert found.value == pytest.approx(right / n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilsons_interval_worked_by_hand():
    """Half of 100 right: the middle is 1/2, and the half-width z / (1 + z^2/n) * sqrt(p q / n + z^2 / 4 n^2)."""
    z = 1.959964
    half = z / (1 + z**2 / 100) * (0.25 / 100 + z**2 / 40_000) ** 0.5
    found = compare.accuracies({"arm": arm(np.arange(100) < 50)}, np.zeros(100, np.int64), confidence=0.95)["arm"]
    assert (found.low, found.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


@pytest.mark.parametrize("n", [2, 10, 359, 10_000])
@pytest.mark.parametrize("right", [0, 1])
def test_an_interval_holds_its_value_even_where_all_or_nothing_is_right(n, right):
    found = compare.accuracies({"arm": arm(np.full(n, right))}, np.zeros(n, np.int64), confidence=0.95)["arm"]
    assert 0 <= found.low <= found.value == right <= found.high <= 1


def test_more_confidence_is_a_wider_interval():
    right = np.arange(50) < 30
    found = [compare.accuracies({"a": arm(right)}, np.zeros(50, int), confidence=c)["a"] for c in (0.8, 0.95, 0.99)]
    widths = [interval.high - interval.low for interval in found]
    assert widths == sorted(set(widths))


def test_identical_arms_are_level_exactly():
    right = np.arange(40) % 3 == 0
    assert lead(right, right) == [Interval(0.0, 0.0, 0.0)]


def test_a_lead_worked_by_hand():
    """Of ten images the first arm is right about 8, the second about 5, of which 4 are the same."""
    first, second = np.array([1] * 8 + [0] * 2), np.array([1] * 4 + [0] * 5 + [1])
    (found,) = lead(first, second)
    assert found.value == pytest.approx(0.3)
    assert found.low < 0.3 < found.high


def test_who_is_behind_has_a_negative_lead():
    first, second = np.arange(100) < 60, np.arange(100) < 80
    (found,) = lead(first, second)
    assert found.value == pytest.approx(-0.2)
    assert found.high < 0


def test_a_lead_is_over_each_other_arm_on_its_own():
    first, second, third = (np.arange(100) < count for count in (90, 70, 50))
    assert [found.value for found in lead(first, second, third)] == [pytest.approx(0.2), pytest.approx(0.4)]


def test_the_interval_of_a_lead_is_about_that_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    first, second = rng.random(2000) < 0.8, rng.random(2000) < 0.7
    (found,) = lead(first, second, resamples=5000)
    difference = first.astype(int) - second
    half = 1.959964 * difference.std() / 2000**0.5
    assert found.low == pytest.approx(difference.mean() - half, abs=0.002)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.002)


def test_what_makes_an_image_hard_for_both_does_not_widen_the_interval():
    """Both arms fail on the same half; drawn each on its own, the difference's half-width would be 0.1."""
    hard = np.arange(400) < 200
    (found,) = lead(~hard, ~hard & (np.arange(400) != 399))
    assert found.value == pytest.approx(1 / 400)
    assert found.high - found.low < 0.02


def test_the_interval_holds_the_truth_about_95_times_in_100():
    """200 repetitions: the standard deviation of the share is 0.015."""
    truth, covered = 0.15, 0
    for repetition in range(200):
        rng = np.random.default_rng(repetition)
        easy = rng.random(300)  # what makes an image easy is shared
        first, second = easy + 0.3 * rng.random(300) > 0.45, easy + 0.3 * rng.random(300) > 0.6
        (found,) = lead(first, second, resamples=300, seed=repetition)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_seed_about_the_same():
    rng = np.random.default_rng(0)
    first, second = rng.random(500) < 0.8, rng.random(500) < 0.7
    (one,), (again,), (other,) = (lead(first, second, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert other.low == pytest.approx(one.low, abs=0.01)


def test_the_first_classes_are_tested_with_all_logits_competing():
    logits, labels = np.eye(4)[[0, 3, 2, 1]], np.array([0, 1, 2, 3])
    arms, kept = compare.first_classes({"arm": logits}, labels, 2)
    assert kept.tolist() == [0, 1]
    assert arms["arm"].argmax(1).tolist() == [0, 3]


def test_recall_is_the_accuracy_on_each_class():
    logits, labels = np.eye(3)[[0, 0, 1, 2, 2, 1]], np.array([0, 0, 1, 1, 1, 2])
    assert compare.recall(logits, labels) == pytest.approx([1, 1 / 3, 0])


def test_the_table_for_people_gives_every_arm_and_the_leads_in_points():
    found = {"resnet": Interval(0.8, 0.75, 0.85), "frozen": Interval(0.9, 0.86, 0.93)}
    text = compare.render(found, {"frozen": Interval(-0.1, -0.15, -0.05)}, 1000, 0.95)
    head, resnet, frozen, foot = text.splitlines()
    assert head.split() == "arm accuracy 95% interval first arm ahead by, points".split()
    assert resnet.split() == "resnet 0.8000 [0.7500, 0.8500] -".split()
    assert frozen.split() == "frozen 0.9000 [0.8600, 0.9300] -10.00 [-15.00, -5.00]".split()
    assert foot.startswith("1,000 test images")
