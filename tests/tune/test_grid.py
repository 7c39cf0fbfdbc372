"""The grid of learning rates, and what is said of the one that was chosen."""

import itertools
import math

import pytest

from src.core.errors import UserError
from src.core.grid import around
from src.finetune.config import Finetune, published_lr
from src.records.tune import SearchSummaries, Trial
from src.tune.search import SearchSetup, grid, said, summary
from tests.helpers import toy_training


def trial(lr: float, accuracy: float | None, loss: float | None = 1.0) -> Trial:
    return Trial(
        **{"lr": lr, "diverged": accuracy is None, "accuracies": [], "val_accuracy": accuracy},
        **{"val_loss": None if accuracy is None else loss, "images": 100, "train_macs": 300, "train_seconds": 1.5},
    )


def found(*trials: Trial):
    return summary(setup(Finetune(lr=trials[0].lr)), trials)


def setup(config: Finetune, arch: str = "resnet18") -> SearchSetup:
    return SearchSetup(
        ({}, {"arch": arch, "weights": "random"}),
        [],
        8,
        "weights",
        0,
        toy_training.digits(),
        None,
        config,
        name="a toy",
    )


@pytest.mark.parametrize("arch", ["resnet18", "convnext_tiny"])
def test_the_centre_of_the_grid_is_the_published_rate_or_the_one_that_was_set(arch):
    assert setup(Finetune(), arch).centre == published_lr(arch)
    assert setup(Finetune(lr=0.02), arch).centre == 0.02


def test_five_rates_reach_a_decade_to_either_side_of_the_published_one_which_is_first():
    assert grid(0.001, 5) == pytest.approx([0.001, 10**-2.5, 10**-3.5, 0.01, 0.0001])


def test_an_even_number_has_one_more_above_the_centre():
    assert grid(0.001, 2) == pytest.approx([0.001, 10**-2.5])
    assert sorted(grid(0.001, 4)) == pytest.approx([10**-3.5, 0.001, 10**-2.5, 0.01])


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 10, 45])
def test_a_grid_is_even_has_its_centre_and_reaches_no_further_than_it_may(count):
    values = around(5e-5, count, step=0.5, reach=2)
    assert values[0] == 5e-5
    assert len(set(values)) == count
    logarithms = sorted(math.log10(value / 5e-5) for value in values)
    steps = [after - before for before, after in itertools.pairwise(logarithms)]
    assert steps == pytest.approx([min(0.5, 2 / max(1, count // 2))] * (count - 1))
    assert max(map(abs, logarithms)) <= 2 + 1e-9


def test_a_longer_search_tries_all_that_a_shorter_one_does():
    for count in range(1, 9):
        assert grid(0.01, count + 1)[:count] == grid(0.01, count)


def test_the_most_accurate_is_chosen_and_of_two_alike_the_one_of_lower_loss():
    assert found(trial(0.001, 0.6), trial(0.01, 0.7, 2.0), trial(0.0001, 0.65, 0.9)).best_trial == 2
    assert found(trial(0.001, 0.6, 1.1), trial(0.01, 0.6, 1.0), trial(0.0001, 0.6, 1.05)).lr == 0.01


def test_the_published_rate_stays_where_none_is_better():
    result = found(trial(0.001, 0.6, 1.1), trial(0.01, 0.6, 1.1), trial(0.0001, 0.5, 0.1))
    assert (result.lr, result.at_edge) == (0.001, False)


def test_a_rate_that_diverged_is_never_chosen_and_ends_the_grid_like_a_worse_one():
    result = found(trial(0.001, 0.6), trial(0.01, None), trial(0.0001, 0.5))
    assert (result.lr, result.diverged, result.at_edge) == (0.001, 1, False)
    assert result.images == 300  # it was trained like the others


def test_where_all_diverged_the_rate_is_named():
    with pytest.raises(
        UserError, match=r"finetune.lr = 10: the loss of a toy was no number at this rate and the 1 around"
    ):
        found(trial(10.0, None), trial(100.0, None))


@pytest.mark.parametrize(("best", "side"), [(0.01, "largest"), (0.0001, "smallest")])
def test_the_edge_of_the_grid_is_said(best, side):
    result = found(*(trial(lr, 0.9 if lr == best else 0.6) for lr in (0.001, 0.01, 0.0001)))
    assert result.at_edge
    assert said("a toy", result).startswith(
        f"a toy: the best of 3 learning rates is {best:g}, the {side}; a better one"
    )


def test_away_from_the_edge_nothing_is_said_of_it():
    result = found(trial(0.001, 0.9), trial(0.01, 0.6), trial(0.0001, 0.6))
    assert not result.at_edge
    assert said("a toy", result) == "a toy: the best of 3 learning rates is 0.001"


def test_a_search_is_summed_up_and_dvc_gets_the_rate():
    result = found(trial(0.001, 0.6), trial(0.01, 0.7), trial(0.1, None))
    assert result.model_dump(exclude={"trials"}) == {
        **{"configurations": 3, "diverged": 1, "best_trial": 2, "lr": 0.01, "at_edge": False, "val_accuracy": 0.7},
        **{"first_val_accuracy": 0.6, "val_images": 30, "images": 300, "train_macs": 900, "train_seconds": 4.5},
    }
    assert SearchSummaries(backbones={"resnet": result}).numbers() == {"resnet": {"lr": 0.01}}


def test_a_trial_says_what_was_tried_and_reached():
    assert str(trial(0.001, 0.6)) == "learning rate 0.001: val accuracy 0.6000"
    assert str(trial(0.001, None)) == "learning rate 0.001: the loss was no number"
