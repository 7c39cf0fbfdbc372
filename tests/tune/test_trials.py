"""Which trial of a search is chosen."""

import dataclasses

import pytest

from src.core.errors import UserError
from src.finetune.config import Finetune
from src.tune.search import Search, Trial, spent

FIRST = Trial(1, "complete", {"lr": 0.001}, [0.5, 0.6], 0.6, 1.1, 100, 300, 1.0)


def trial(number: int, accuracy: float | None, loss: float | None, state: str = "complete") -> Trial:
    return dataclasses.replace(FIRST, number=number, state=state, val_accuracy=accuracy, val_loss=loss)


def chosen(*trials: Trial) -> int:
    return Search("a backbone", Finetune(lr=0.001), list(trials), 50, 1000).best.number


def test_the_most_accurate_is_chosen_and_of_two_alike_the_one_of_lower_loss():
    assert chosen(FIRST, trial(2, 0.7, 2.0), trial(3, 0.65, 0.9)) == 2
    assert chosen(FIRST, trial(2, 0.6, 1.0), trial(3, 0.6, 1.05)) == 2


def test_the_first_which_is_finetunes_own_stays_where_none_is_better():
    assert chosen(FIRST, trial(2, 0.6, 1.1), trial(3, 0.6, 1.2), trial(4, 0.5, 0.1)) == 1


@pytest.mark.parametrize("state", ["pruned", "diverged"])
def test_one_that_did_not_come_to_its_end_is_never_chosen(state):
    assert chosen(FIRST, trial(2, 0.9, 0.1, state)) == 1


def test_where_none_came_to_its_end_the_rate_is_named():
    with pytest.raises(UserError, match=r"finetune.lr = 0.001: none of 2 trials of a backbone around it came"):
        chosen(trial(1, None, None, "diverged"), trial(2, 0.1, 9.0, "diverged"))


def test_every_trial_counts_whatever_became_of_it():
    assert spent([FIRST, trial(2, None, None, "diverged"), trial(3, 0.1, 2.0, "pruned")]) == 300


def test_a_trial_says_what_was_tried_and_reached():
    assert str(FIRST) == "lr 0.001: complete, val accuracy 0.6000"
    assert str(trial(2, None, None, "diverged")) == "lr 0.001: diverged, no epoch"
