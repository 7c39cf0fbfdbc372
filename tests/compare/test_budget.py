"""The expected best of n configurations, against all subsets of them."""

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.compare import budget
from src.records.evaluate import Evaluations
from src.records.tune import SearchSummaries, SearchSummary, Trial
from tests.helpers.toy_records import evaluation


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_it_is_the_mean_over_all_subsets_of_their_best(values):
    expected = [
        statistics.fmean(max(subset) for subset in itertools.combinations(values, size))
        for size in range(1, len(values) + 1)
    ]
    assert budget.expected_best(values) == pytest.approx(expected)


def test_it_starts_at_the_mean_ends_at_the_best_and_lies_above_draws_with_replacement():
    values = np.random.default_rng(0).uniform(size=45)
    curve = budget.expected_best(values.tolist())
    assert (curve[0], curve[-1]) == (pytest.approx(values.mean()), pytest.approx(values.max()))
    ranks = np.arange(46) / 45
    for size in range(2, 46):  # as Dodge et al. 2019 have it
        with_replacement = (np.sort(values) * (ranks[1:] ** size - ranks[:-1] ** size)).sum()
        assert with_replacement < curve[size - 1]


def trial(accuracy: float | None) -> Trial:
    return Trial(
        **{"lr": 0.1, "diverged": accuracy is None, "accuracies": [], "val_accuracy": accuracy, "val_loss": None},
        **{"images": 1, "train_macs": 1, "train_seconds": 1.0},
    )


def search(*trials: Trial) -> SearchSummary:
    return SearchSummary(
        **{"configurations": len(trials), "diverged": 0, "best_trial": 1, "lr": 0.1, "at_edge": False},
        **{"val_accuracy": 0.5, "first_val_accuracy": 0.5, "val_images": 9, "images": 1, "train_macs": 1},
        **{"train_seconds": 1.0, "trials": list(trials)},
    )


def frozen(accuracies: list[float], other: list[float]) -> Evaluations:
    seeds = {"3": evaluation(tried_accuracies=accuracies), "4": evaluation(tried_accuracies=other)}
    return Evaluations(seeds={seed: {"linear": arm, "centroid": evaluation()} for seed, arm in seeds.items()})


def test_rates_and_strengths_of_the_searched_seed_are_compared_and_a_rate_without_a_network_counts_as_nothing():
    tuned = SearchSummaries(backbones={"resnet": search(trial(0.5), trial(None))})
    cells = {"convnext.frozen": frozen([0.6, 0.7], [0.1, 0.2]), "resnet.frozen": Evaluations()}
    assert budget.tried(tuned, cells, "head", 3) == {"resnet.head": [0.5, 0.0], "convnext.linear": [0.6, 0.7]}


def test_where_nothing_was_searched_there_is_no_curve():
    assert budget.tried(SearchSummaries(), {"convnext.frozen": frozen([], [])}, "full", 3) == {}


def test_each_arm_has_a_line_over_the_numbers_of_configurations():
    titles = {"resnet.full": "resnet18, fine-tuned", "convnext.linear": "a $name$, frozen, linear"}
    axes = budget.figure({"resnet.full": [0.5, 0.6, 0.7], "convnext.linear": [0.8, 0.9]}, titles, 1040).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 3], [1, 2]]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.5, 0.6, 0.7], [0.8, 0.9]]
    assert [line.get_label() for line in axes.lines] == ["resnet18, fine-tuned", r"a \$name\$, frozen, linear"]
    assert "1,040 validation images" in axes.get_ylabel()
