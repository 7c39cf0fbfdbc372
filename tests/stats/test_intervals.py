"""Intervals and tests: against published ones, and differences paired by image."""

import time
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

from src.core import seeds
from src.core.records import Interval
from src.stats import intervals


def arm(right: np.ndarray) -> np.ndarray:
    """Logits of two classes that are right, for labels of zero, where `right` is."""
    return np.stack([right, 1 - np.asarray(right)], axis=1).astype(np.float32)


def resample(rights: dict[str, np.ndarray], resamples: int = 2000, confidence: float = 0.95, seed: int = 0):
    """The bootstrap of arms that are right where `rights` say so."""
    arms = {name: arm(right) for name, right in rights.items()}
    labels = np.zeros(len(next(iter(rights.values()))), np.int64)
    return intervals.resample(
        arms, labels, confidence=confidence, resamples=resamples, seed=seeds.derive(seed, "bootstrap")
    )


def lead(*rights: np.ndarray, **settings) -> list[Interval]:
    """How far the first arm is ahead of each other one."""
    first, *others = names = [str(number) for number in range(len(rights))]
    resampled = resample(dict(zip(names, rights, strict=True)), **settings)
    return [resampled.contrast({first: 1, other: -1}) for other in others]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(right, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    arms = {"arm": arm(np.arange(n) < right)}
    result = intervals.accuracies(arms, np.zeros(n, np.int64), confidence=0.95)["arm"]
    assert result.value == pytest.approx(right / n)
    assert (result.low, result.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilsons_interval_worked_by_hand():
    """Half of 100 right: the middle is 1/2, and the half-width z / (1 + z^2/n) * sqrt(p q / n + z^2 / 4 n^2)."""
    z = 1.959964
    half = z / (1 + z**2 / 100) * (0.25 / 100 + z**2 / 40_000) ** 0.5
    result = intervals.accuracies({"arm": arm(np.arange(100) < 50)}, np.zeros(100, np.int64), confidence=0.95)["arm"]
    assert (result.low, result.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


@pytest.mark.parametrize("n", [2, 10, 359, 10_000])
@pytest.mark.parametrize("right", [0, 1])
def test_an_interval_holds_its_value_even_where_all_or_nothing_is_right(n, right):
    result = intervals.accuracies({"arm": arm(np.full(n, right))}, np.zeros(n, np.int64), confidence=0.95)["arm"]
    assert 0 <= result.low <= result.value == right <= result.high <= 1


def test_more_confidence_is_a_wider_interval():
    right = np.arange(50) < 30
    result = [intervals.accuracies({"a": arm(right)}, np.zeros(50, int), confidence=c)["a"] for c in (0.8, 0.95, 0.99)]
    widths = [interval.high - interval.low for interval in result]
    assert widths == sorted(set(widths))


def test_identical_arms_are_level_exactly():
    right = np.arange(40) % 3 == 0
    assert lead(right, right) == [Interval(0.0, 0.0, 0.0)]


def test_a_lead_worked_by_hand():
    """Of ten images the first arm is right about 8, the second about 5, of which 4 are the same."""
    first, second = np.array([1] * 8 + [0] * 2), np.array([1] * 4 + [0] * 5 + [1])
    (result,) = lead(first, second)
    assert result.value == pytest.approx(0.3)
    assert result.low < 0.3 < result.high


def test_who_is_behind_has_a_negative_lead():
    first, second = np.arange(100) < 60, np.arange(100) < 80
    (result,) = lead(first, second)
    assert result.value == pytest.approx(-0.2)
    assert result.high < 0


def test_a_lead_is_over_each_other_arm_on_its_own():
    first, second, third = (np.arange(100) < count for count in (90, 70, 50))
    assert [result.value for result in lead(first, second, third)] == [pytest.approx(0.2), pytest.approx(0.4)]


def test_the_interval_of_a_lead_is_about_that_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    first, second = rng.random(2000) < 0.8, rng.random(2000) < 0.7
    (result,) = lead(first, second, resamples=5000)
    difference = first.astype(int) - second
    half = 1.959964 * difference.std() / 2000**0.5
    assert result.low == pytest.approx(difference.mean() - half, abs=0.002)
    assert result.high == pytest.approx(difference.mean() + half, abs=0.002)


def test_what_makes_an_image_hard_for_both_does_not_widen_the_interval():
    """Both arms fail on the same half; drawn each on its own, the difference's half-width would be 0.1."""
    hard = np.arange(400) < 200
    (result,) = lead(~hard, ~hard & (np.arange(400) != 399))
    assert result.value == pytest.approx(1 / 400)
    assert result.high - result.low < 0.02


def test_the_interval_holds_the_truth_about_95_times_in_100():
    """1,000 repetitions: the standard deviation of the share is 0.007."""
    truth, covered = 0.15, 0
    for repetition in range(1000):
        rng = np.random.default_rng(repetition)
        easy = rng.random(300)  # what makes an image easy is shared
        first, second = easy + 0.3 * rng.random(300) > 0.45, easy + 0.3 * rng.random(300) > 0.6
        (result,) = lead(first, second, resamples=400, seed=repetition)
        covered += result.low <= truth <= result.high
    assert 0.925 <= covered / 1000 <= 0.97


def test_the_same_seed_gives_the_same_interval_and_another_seed_about_the_same():
    rng = np.random.default_rng(0)
    first, second = rng.random(500) < 0.8, rng.random(500) < 0.7
    (one,), (again,), (other,) = (lead(first, second, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert other.low == pytest.approx(one.low, abs=0.01)


def test_the_first_classes_are_tested_with_all_logits_competing():
    logits, labels = np.eye(4)[[0, 3, 2, 1]], np.array([0, 1, 2, 3])
    arms, kept = intervals.first_classes({"arm": logits}, labels, 2)
    assert kept.tolist() == [0, 1]
    assert arms["arm"].argmax(1).tolist() == [0, 3]


def test_an_arm_that_is_told_which_classes_there_are_chooses_among_them_alone():
    logits, labels = np.array([[2, 1, 0], [1, 2, 3], [0, 0, 9]]), np.array([0, 1, 2])
    arms, kept = intervals.first_classes({"arm": logits}, labels, 2, restricted=True)
    assert arms["arm"].tolist() == [[2, 1], [1, 2]]
    assert intervals.accuracies(arms, kept, confidence=0.95)["arm"].value == 1
    full, _ = intervals.first_classes({"arm": logits}, labels, 2)
    assert intervals.accuracies(full, kept, confidence=0.95)["arm"].value == 0.5


def test_logits_that_are_all_minus_infinity_are_no_right_answer():
    """Restricted to classes that a zero-shot arm does not know, it has nothing to say, and the first is no guess."""
    assert intervals.correct(np.array([[-np.inf, -np.inf], [-np.inf, 1]]), np.array([0, 1])).tolist() == [False, True]


def test_drawing_counts_of_patterns_is_drawing_images():
    """scipy draws the images themselves; the ends of both intervals differ by the luck of 20,000 resamples alone."""
    rng = np.random.default_rng(0)
    easy = rng.random(800)
    right = [(easy + 0.5 * rng.random(800) > bar).astype(int) for bar in (0.4, 0.5, 0.55)]
    result = lead(*right, resamples=20_000)
    for other, interval in zip(right[1:], result, strict=True):
        expected = stats.bootstrap(
            (right[0], other),
            lambda a, b, axis: a.mean(axis) - b.mean(axis),
            paired=True,
            n_resamples=20_000,
            batch=1000,
            method="percentile",
            rng=np.random.default_rng(1),
        ).confidence_interval
        assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=0.0015)


def test_all_arms_are_drawn_together():
    """b is right wherever a is, and so in every resample right as often at least; c is right wherever a is not."""
    a, b = np.arange(200) < 100, np.arange(200) < 110
    result = resample({"a": a, "b": b, "c": ~a})
    assert result.right.tolist() == [100, 110, 100]
    assert result.draws.shape == (2000, 3)
    assert (result.draws[:, 0] <= result.draws[:, 1]).all()
    assert (result.draws[:, 0] + result.draws[:, 2] == 200).all()


def test_sixteen_arms_on_10000_images_take_seconds_and_little_memory():
    rng = np.random.default_rng(0)
    easy = 1.5 * rng.normal(size=10_000)
    arms = {str(i): arm(easy + 2 - 0.15 * i + 0.8 * rng.normal(size=10_000) > 0) for i in range(16)}
    labels = np.zeros(10_000, np.int64)
    start = time.perf_counter()
    result = intervals.resample(arms, labels, confidence=0.95, resamples=10_000, seed=0)
    assert len(intervals.pairs(arms, labels, result)) == 120
    assert time.perf_counter() - start < 20  # 3 s on a quiet core
    assert result.draws.nbytes < 2e6


PAIRED = {"a": np.array([1] * 9 + [0] * 1 + [1] * 10), "b": np.array([0] * 9 + [1] * 1 + [1] * 10)}


def pairs(rights: dict[str, np.ndarray]) -> list[intervals.Pair]:
    arms = {name: arm(right) for name, right in rights.items()}
    return intervals.pairs(arms, np.zeros(len(next(iter(rights.values()))), np.int64), resample(rights))


def test_mcnemars_p_worked_by_hand():
    """Of ten images that one arm alone got right, nine are the first's: 2 (1 + 10) / 2^10."""
    (result,) = pairs(PAIRED)
    assert (result.first, result.second, result.only_first, result.only_second) == ("a", "b", 9, 1)
    assert result.p == pytest.approx(22 / 1024)
    assert result.p == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert result.p_holm == result.p  # one pair needs no adjustment
    assert result.difference.value == pytest.approx(0.4)


def test_arms_that_answer_alike_differ_by_exactly_nothing_and_their_p_is_1():
    right = np.arange(30) % 3 == 0
    for result in pairs({"a": right, "b": right, "c": right}):
        assert result.difference == Interval(0.0, 0.0, 0.0)
        assert (result.p, result.p_holm, result.only_first, result.only_second) == (1, 1, 0, 0)


def test_as_many_images_for_either_side_is_a_p_of_1():
    (result,) = pairs({"a": np.array([1, 1, 0, 0, 1]), "b": np.array([0, 0, 1, 1, 1])})
    assert result.p == 1
    assert result.difference.value == 0


def test_holms_adjustment_worked_by_hand():
    """One arm alone is right on 10, 6 and 4 images: p is 2/2^10, 2/2^6 and 2/2^4; times 3, times 2, and as it is."""
    n = 40
    right = {"a": np.arange(n) < 20, "b": np.arange(n) < 16, "c": np.arange(n) < 10}
    result = {(pair.first, pair.second): pair for pair in pairs(right)}
    assert {key: pair.p for key, pair in result.items()} == pytest.approx(
        {("a", "c"): 2 / 2**10, ("b", "c"): 2 / 2**6, ("a", "b"): 2 / 2**4}
    )
    assert {key: pair.p_holm for key, pair in result.items()} == pytest.approx(
        {("a", "c"): 6 / 2**10, ("b", "c"): 4 / 2**6, ("a", "b"): 2 / 2**4}
    )


def test_holms_adjusted_p_never_falls_below_that_of_a_smaller_p():
    """Holm 1979: of m sorted p, the largest of (m - j) p_j up to each one's place j = 0, 1, ..., at most 1."""
    rng = np.random.default_rng(0)
    result = sorted(pairs({name: rng.random(60) < 0.8 for name in "abcd"}), key=lambda pair: pair.p)
    adjusted = [pair.p_holm for pair in result]
    assert adjusted == sorted(adjusted)
    running = [max(min(1, result[k].p * (6 - k)) for k in range(i + 1)) for i in range(6)]
    assert adjusted == pytest.approx(running)


def test_every_pair_is_there_once_in_the_order_of_the_arms():
    right = {name: np.arange(10) < 5 for name in "abcd"}
    assert [(pair.first, pair.second) for pair in pairs(right)] == list(combinations("abcd", 2))


CELLS = {
    "resnet.finetuned": "resnet.full",
    "resnet.frozen": "resnet.linear",
    "convnext.finetuned": "convnext.full",
    "convnext.frozen": "convnext.linear",
}


def test_effects_worked_by_hand():
    """Of 100 images ResNet is right on 50 frozen and 80 fine-tuned, ConvNeXt on 70 and 90."""
    counts = {"resnet.full": 80, "resnet.linear": 50, "convnext.full": 90, "convnext.linear": 70}
    result = intervals.effects(resample({name: np.arange(100) < count for name, count in counts.items()}), CELLS)
    assert result["architecture"].value == pytest.approx((20 + 10) / 2 / 100)
    assert result["finetuning"].value == pytest.approx((30 + 20) / 2 / 100)
    assert result["interaction"].value == pytest.approx((20 - 30) / 100)
    assert all(effect.low < effect.value < effect.high for effect in result.values())


def test_four_arms_that_answer_alike_have_no_effects():
    result = intervals.effects(resample({name: np.arange(50) % 2 == 0 for name in CELLS.values()}), CELLS)
    assert set(result.values()) == {Interval(0.0, 0.0, 0.0)}


def test_the_interval_of_an_effect_is_about_that_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    right = {name: rng.random(3000) < 0.5 + 0.1 * k for k, name in enumerate(CELLS.values())}
    result = intervals.effects(resample(right, resamples=5000), CELLS)["interaction"]
    full, linear, modern_full, modern_linear = (part.astype(int) for part in right.values())
    each = (modern_full - modern_linear) - (full - linear)
    half = 1.959964 * each.std() / 3000**0.5
    assert (result.low, result.high) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.003)


def over_seeds(first, second=None, seed=0, resamples=1000):
    return intervals.over_seeds(first, second, confidence=0.95, resamples=resamples, seed=seed)


def test_the_mean_and_the_spread_over_seeds_worked_by_hand():
    """Leads of 0.1, 0.2 and 0.3 by seed: their mean is 0.2, and so is ten times their spread, 0.1."""
    first = np.array([np.arange(20) < count for count in (12, 14, 16)])
    result = over_seeds(first, np.arange(20)[None] < np.full((3, 1), 10))
    assert result.interval.value == pytest.approx(0.2)
    assert result.spread == pytest.approx(0.1)
    assert (result.seeds, result.covers) == (3, "images and seeds")
    assert result.interval.low < 0.2 < result.interval.high


def test_one_arm_over_seeds_is_its_accuracy():
    result = over_seeds(np.array([np.arange(20) < count for count in (12, 14)]))
    assert result.interval.value == pytest.approx(13 / 20)
    assert result.spread == pytest.approx(0.1 / 2**0.5)


def test_with_one_seed_images_alone_are_drawn_and_the_result_says_so():
    rng = np.random.default_rng(0)
    first, second = rng.random((1, 2000)) < 0.8, rng.random((1, 2000)) < 0.7
    result = over_seeds(first, second, resamples=5000)
    assert (result.seeds, result.spread, result.covers) == (1, None, "images")
    (expected,) = lead(first[0], second[0], resamples=5000)
    assert result.interval.value == expected.value
    assert (result.interval.low, result.interval.high) == pytest.approx((expected.low, expected.high), abs=0.002)


def test_arms_that_answer_alike_under_every_seed_differ_by_exactly_nothing():
    right = np.random.default_rng(0).random((3, 50)) < 0.7
    result = over_seeds(right, right)
    assert result.interval == Interval(0.0, 0.0, 0.0)
    assert result.spread == 0


def test_seeds_that_differ_widen_the_interval_and_equal_ones_do_not():
    images = np.arange(1000) < 700
    same = over_seeds(np.array([images] * 5)).interval
    wilson = intervals.accuracies({"a": arm(images)}, np.zeros(1000, int), confidence=0.95)["a"]
    assert same.high - same.low == pytest.approx(wilson.high - wilson.low, rel=0.1)
    spread = over_seeds(np.array([np.arange(1000) < count for count in (500, 600, 700, 800, 900)])).interval
    assert spread.high - spread.low > 3 * (same.high - same.low)


def test_where_images_hardly_matter_the_interval_is_that_of_the_seeds_mean():
    """Four of five seeds are drawn, so that the draws vary as the mean of five does: by the spread over sqrt(5)."""
    first = np.array([np.arange(100_000) < count for count in (50_000, 60_000, 70_000, 80_000, 90_000)])
    result = over_seeds(first, resamples=20_000).interval
    rng = np.random.default_rng(0)
    means = 0.1 * rng.multinomial(4, [0.2] * 5, size=100_000) @ np.arange(5, 10) / 4
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.006)
    assert np.std(means) == pytest.approx(first.mean(1).std(ddof=1) / 5**0.5, rel=0.02)


def test_the_interval_over_seeds_covers_the_truth_in_about_95_percent():
    """400 repetitions of 5 seeds: the standard deviation of a share of 0.95 is 0.011."""
    skill, moves, luck = (1.0, 0.6), 0.09, 0.5  # of an arm, of its seeds, and on single images; images vary by 1
    width = (1 + moves**2 + luck**2) ** 0.5
    truth = float(np.diff(stats.norm.cdf(np.array(skill[::-1]) / width))[0])
    covered = np.zeros(2)
    for repetition in range(400):
        rng = np.random.default_rng(repetition)
        easy = rng.normal(size=400)
        first, second = (
            easy + value + moves * rng.normal(size=(5, 1)) + luck * rng.normal(size=(5, 400)) > 0 for value in skill
        )
        for place, count in enumerate((5, 1)):
            result = over_seeds(first[:count], second[:count], seed=repetition, resamples=400).interval
            covered[place] += result.low <= truth <= result.high
    assert 0.92 <= covered[0] / 400 <= 0.985
    assert covered[1] / 400 < 0.8


def test_recall_is_the_accuracy_on_each_class():
    logits, labels = np.eye(3)[[0, 0, 1, 2, 2, 1]], np.array([0, 0, 1, 1, 1, 2])
    assert intervals.recall(logits, labels) == pytest.approx([1, 1 / 3, 0])


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 3), (5, 12), (40, 22), (300, 240)])
def test_mcnemar_is_the_exact_test_of_statsmodels(first, second):
    expected = contingency_tables.mcnemar([[0, first], [second, 0]], exact=True).pvalue
    assert intervals.mcnemar(first, second) == pytest.approx(expected if first + second else 1.0)


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 66):
        p = rng.random(count) ** 3
        np.testing.assert_allclose(intervals.holm(p), multitest.multipletests(p, method="holm")[1])
    assert intervals.holm([]) == []
