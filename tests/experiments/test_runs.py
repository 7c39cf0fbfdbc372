"""Runs that are put together: seeds that were run twice, subsets, and sums over conditions."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.experiments.runs import by_condition, clusters, joined, pooled
from src.stats import contrasts
from tests.helpers.toy_runs import DIAGONAL, QUESTION, run, simulated


def test_runs_are_in_the_order_of_series_classes_images_and_pixels():
    given = [
        run({"a.full": "1"}, series="random", subset="subset_seed 0"),
        run({"a.full": "1"}, classes=3, pixels=64),
        run({"a.full": "1"}, classes=3),
        run({"a.full": "1"}, classes=3, shots=10),
        run({"a.full": "1"}, classes=2, shots=100),
    ]
    assert [tuple(condition) for condition in by_condition(given)] == [
        ("first", 2, 100, 32),
        ("first", 3, 10, 32),
        ("first", 3, None, 32),
        ("first", 3, None, 64),
        ("random", 2, None, 32),
    ]


def test_a_seed_that_two_runs_have_is_taken_once_and_named():
    first = run([{"a.full": "1"}, {"a.full": "0"}], seed=0)
    second = run([{"a.full": "1"}, {"a.full": "0"}, {"a.full": "0"}], seed=1)
    again = run({"a.full": "1"}, seed=2)
    kept, said = pooled([first, second, again])
    assert [(list(part.test), list(part.validation)) for part in kept] == [([0, 1], [0, 1]), ([2, 3], [2, 3])]
    assert said == [
        "left out: seed 1 of first-first-k2-seed1, taken from first-first-k2-seed0",
        "left out: seed 2 of first-first-k2-seed2, taken from first-first-k2-seed1",
    ]


def test_runs_under_other_conditions_may_have_the_same_seeds():
    runs = [run({"a.full": "1"}), run({"a.full": "1"}, shots=10), run({"a.full": "1"}, pixels=64)]
    assert pooled(runs) == (runs, [])


def test_clusters_are_seeds_and_of_several_subsets_the_subsets():
    seeds = clusters([run([{"a.full": "11"}, {"a.full": "10"}]), run({"a.full": "00"}, seed=2)], ["a.full"])
    assert [(part.cluster, part.right["a.full"].mean()) for part in seeds] == [("0", 1), ("1", 0.5), ("2", 0)]
    subsets = [
        run([{"a.full": "11"}, {"a.full": "10"}], series="random", subset="subset_seed 0"),
        run({"a.full": "00"}, series="random", subset="subset_seed 1", index=[2, 3]),
    ]
    found = clusters(subsets, ["a.full"])
    assert [(part.cluster, part.right["a.full"].tolist()) for part in found] == [
        ("subset_seed 0", [1, 0.5]),
        ("subset_seed 1", [0, 0]),
    ]


def test_a_run_without_an_arm_is_left_out():
    runs = [run({"a.full": "11", "a.knn": "10"}), run({"a.full": "00"}, seed=1)]
    assert [part.cluster for part in clusters(runs, ["a.full", "a.knn"])] == ["0"]


def test_subsets_of_all_classes_are_refused():
    runs = [
        run({"a.full": "1100"}, series="random", subset=f"subset_seed {seed}", index=index)
        for seed, index in enumerate(([0, 1, 2, 3], [3, 2, 1, 0]))
    ]
    with pytest.raises(UserError, match="subset_seed 0, subset_seed 1: these subsets hold the same classes"):
        clusters(runs, ["a.full"])


def test_a_sum_over_conditions_has_the_means_of_its_conditions_and_their_common_clusters():
    small = run([{"a.full": "1100"}, {"a.full": "1000"}], index=[0, 1, 4, 5])
    large = run([{"a.full": "111000"}, {"a.full": "111110"}, {"a.full": "000000"}], classes=3)
    parts = {"2": clusters([small], ["a.full"]), "3": clusters([large], ["a.full"])}
    both = joined(parts)
    assert [part.cluster for part in both] == ["0", "1"]
    weights = {"a.full@3": 1, "a.full@2": -1}
    result = contrasts.contrast(both, weights, 0.95)
    assert result.each == pytest.approx({"0": 0.5 - 0.5, "1": 5 / 6 - 0.25})


def test_a_sum_of_one_condition_has_its_own_interval():
    parts = clusters([simulated(0.1, rng=np.random.default_rng(0), n=1000)], QUESTION)
    renamed = {f"{arm}@2": weight for arm, weight in QUESTION.items()}
    own, same = contrasts.contrast(parts, QUESTION, 0.95), contrasts.contrast(joined({"2": parts}), renamed, 0.95)
    assert (same.value, same.low, same.high) == pytest.approx((own.value, own.low, own.high))


def test_images_that_two_conditions_share_count_once():
    """A sum of the same answers twice has twice the standard error, not the root of two times."""
    parts = clusters([simulated(0.1, rng=np.random.default_rng(0), n=1000, spread=0)], QUESTION)
    one = contrasts.contrast(joined({"a": parts}), {f"{arm}@a": w for arm, w in QUESTION.items()}, 0.95)
    weights = {f"{arm}@{condition}": weight for arm, weight in QUESTION.items() for condition in "ab"}
    two = contrasts.contrast(joined({"a": parts, "b": parts}), weights, 0.95)
    assert two.se == pytest.approx(2 * one.se, rel=0.01)


def test_the_images_of_some_classes_can_be_looked_at_alone():
    given = run({"a.full": "110010"}, classes=3, cells=DIAGONAL, validation={"a.full": "101"})
    result = given.of_classes([1, 2])
    assert result.test[0].labels.tolist() == [1, 2, 1, 2]
    assert result.test[0].right["a.full"].tolist() == [True, False, True, False]
    assert result.validation[0].right["a.full"].tolist() == [False, True]
