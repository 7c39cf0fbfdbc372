"""Which experiments belong into one picture."""

import pytest

from src.experiments import read

PLAIN = {"classes": 2, "seed": 0, "subset_seed": None, "device": "cpu", "finetune.lr": 0.001, "frozen.shots": None}


def test_runs_that_differ_in_what_a_sweep_varies_or_in_the_device_are_mixed():
    other = {"classes": 5, "seed": 3, "subset_seed": 7, "device": "cuda"}
    assert read.mixed({"one": PLAIN, "two": PLAIN | other}) is None


def test_another_setting_is_refused_with_its_values_and_experiments():
    result = {"one": PLAIN, "two": PLAIN | {"finetune.lr": 0.01}, "three": PLAIN}
    assert read.mixed(result) == "finetune.lr differs: 0.001 in one, three, 0.01 in two"


def test_a_setting_that_an_older_run_does_not_have_differs_too():
    older = {key: value for key, value in PLAIN.items() if key != "finetune.lr"}
    assert read.mixed({"new": PLAIN, "old": older}) == "finetune.lr differs: 0.001 in new, null in old"


def test_what_is_switched_off_does_not_count_and_what_switches_it_frees_it():
    off = {"finetune.mix": "none", "finetune.mix_alpha": 1, "tune.enabled": False, "tune.trials": 5, "folder": "x"}
    left = {"finetune.mix": "none", "tune.enabled": False, "dataset": "digits"}
    assert read.used(off | {"dataset": "digits"}) == left
    on = {"finetune.mix": "mixup", "finetune.mix_alpha": 0.2, "tune.enabled": True, "tune.trials": 5}
    assert read.used(on) == on
    result = {
        "one": PLAIN | {"finetune.mix": "none"},
        "two": PLAIN | {"finetune.mix": "mixup", "finetune.mix_alpha": 2},
    }
    assert read.mixed(result, ("finetune.mix",)) is None
    assert read.mixed(result, ("tune.enabled",)) == "finetune.mix differs: none in one, mixup in two"


def test_most_experiments_that_differ_in_the_wanted_settings_alone_are_chosen():
    result = {
        "base": PLAIN,
        "again": PLAIN | {"seed": 1},
        "few": PLAIN | {"frozen.shots": 5},
        "slow": PLAIN | {"finetune.lr": 0.1},
        "slower": PLAIN | {"finetune.lr": 0.1, "seed": 1},
        "more": PLAIN | {"finetune.lr": 0.1, "seed": 2},
    }
    assert read.agreeing(result, ("seed", "frozen.shots")) == ["base", "again", "few"]
    assert read.agreeing(result, ("seed", "finetune.epochs")) == list(result)


def test_of_many_names_the_first_are_listed():
    assert read.listed(list("abc")) == "a, b, c"
    assert read.listed(list("abcde")) == "a, b, c and 2 more"


def test_of_runs_with_the_same_classes_and_seed_one_is_kept():
    result = {"one": PLAIN, "seed": PLAIN | {"seed": 1}, "again": PLAIN | {"device": "cuda"}}
    assert read.distinct(result) == (["one", "seed"], [("again", "one")])


@pytest.mark.parametrize(
    ("settings", "series", "subset"),
    [
        ({"classes": 5, "subset_seed": None}, "first", "first"),
        ({"classes": 5, "subset_seed": 0}, "random", "subset_seed 0"),
        ({"classes": ["cat", "dog"], "subset_seed": None}, "named", "cat, dog"),
    ],
)
def test_the_way_that_classes_were_chosen_is_the_series(settings, series, subset):
    assert read.subset_of(settings) == (series, subset)
