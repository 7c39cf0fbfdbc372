"""The experiments of a sweep: their order, names and estimated times."""

import re

import pytest

from src.core.errors import UserError
from src.sweep import plan

SETTINGS = {"dataset": "cifar10", "classes": 5, "seed": 1, "subset_seed": None, "finetune": {"lr": 0.001}}


def test_every_class_count_is_run_under_one_seed_before_the_next_seed():
    words = plan.overrides(["2", "[cat,dog]"], ["0", "1"], [], ["finetune.lr=0.1"])
    assert [word[:2] for word in words] == [
        ("classes=2", "seed=0"),
        ("classes=[cat,dog]", "seed=0"),
        ("classes=2", "seed=1"),
        ("classes=[cat,dog]", "seed=1"),
    ]
    assert all(word[2:] == ("finetune.lr=0.1",) for word in words)


def test_random_subsets_are_set_only_where_they_were_asked_for():
    words = plan.overrides(["2"], ["0"], ["7", "8"], [])
    assert words == [("classes=2", "seed=0", "subset_seed=7"), ("classes=2", "seed=0", "subset_seed=8")]


@pytest.mark.parametrize(("key", "option"), [("classes", "--classes"), ("subset_seed", "--subset-seeds")])
def test_what_has_an_option_of_its_own_is_refused_among_the_settings(key, option):
    with pytest.raises(UserError, match=f"-S {key}=3: give it as {option}"):
        plan.overrides(["2"], ["0"], [], [f"{key}=3"])


def test_a_name_has_classes_and_seed_and_a_hash_of_settings_and_commit():
    first = plan.planned((), SETTINGS, "aaa")
    assert re.fullmatch(r"k05-seed1-[0-9a-f]{8}", first.name)
    assert plan.planned((), dict(reversed(SETTINGS.items())), "aaa").name == first.name
    others = [({"finetune": {"lr": 0.01}}, "aaa"), ({}, "bbb"), ({"subset_seed": 3}, "aaa")]
    names = {plan.planned((), SETTINGS | change, commit).name for change, commit in others}
    assert len(names | {first.name}) == 4
    assert any(name.startswith("k05-subset3-seed1-") for name in names)
    assert plan.planned((), SETTINGS | {"classes": ["cat", "dog"]}, "aaa").classes == 2
    both = SETTINGS | {"dataset": "cifar100", "classes": ["people", "rocket"]}
    assert plan.planned((), both, "aaa").name.startswith("k06-seed1-")


def test_the_time_left_is_estimated_without_the_first_experiment():
    assert plan.seconds_left([(50, 2)], 10) is None
    assert plan.seconds_left([(100, 2), (130, 3), (180, 5)], 10) == 100  # 80 s for 8 classes


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "unknown yet"), (0.2, "about 1 s"), (600, "about 10 min"), (9000, "about 2.5 h")]
)
def test_durations_are_told_roughly(seconds, text):
    assert plan.duration(seconds) == text
