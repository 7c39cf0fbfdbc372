"""The experiments of a sweep: their order, names and estimated times."""

import re

import pytest

from src.core.errors import UserError
from src.settings.settings import Settings
from src.sweep import plan
from src.sweep.__main__ import require_subsets

SETTINGS = {
    "dataset": "cifar10",
    "classes": 5,
    "seeds": [0, 1, 2],
    "subset_seed": None,
    "image_size": 32,
    "prepare": {"shots": None, "per_class": 500},
    "finetune": {"lr": 0.001},
}


def test_every_experiment_has_all_seeds_and_class_counts_vary_fastest():
    assert plan.overrides(["2", "[cat,dog]"], ["finetune.lr=0.1"], seeds=["0", "1"], sizes=["32", "64"]) == [
        ("classes=2", "image_size=32", "seeds=[0,1]", "finetune.lr=0.1"),
        ("classes=[cat,dog]", "image_size=32", "seeds=[0,1]", "finetune.lr=0.1"),
        ("classes=2", "image_size=64", "seeds=[0,1]", "finetune.lr=0.1"),
        ("classes=[cat,dog]", "image_size=64", "seeds=[0,1]", "finetune.lr=0.1"),
    ]


def test_axes_are_set_only_where_they_were_asked_for_and_multiply():
    assert plan.overrides(["2"]) == [("classes=2",)]
    words = plan.overrides(["2"], subset_seeds=["7", "8"], shots=["10", "null"])
    assert words == [
        ("classes=2", f"prepare.shots={shots}", f"subset_seed={subset}")
        for shots in ("10", "null")
        for subset in ("7", "8")
    ]


@pytest.mark.parametrize(
    ("key", "option"),
    [
        ("classes", "--classes"),
        ("seeds", "--seeds"),
        ("subset_seed", "--subset-seeds"),
        ("prepare.shots", "--shots"),
        ("image_size", "--sizes"),
    ],
)
def test_what_has_an_option_of_its_own_is_refused_among_the_settings(key, option):
    with pytest.raises(UserError, match=f"-S {key}=3: give it as {option}"):
        plan.overrides(["2"], [f"{key}=3"])


def test_random_subsets_of_all_classes_are_refused_before_they_run():
    require_subsets(Settings(classes=9))
    with pytest.raises(UserError, match="every subset of all 10 classes is the same"):
        require_subsets(Settings(classes=10))


def named(change=(), commit="aaa"):
    return plan.planned((), SETTINGS | dict(change), commit).name


def test_a_name_has_what_a_sweep_varies_and_a_hash_of_settings_and_commit():
    first = named()
    assert re.fullmatch(r"k05-px32-seeds0-1-2-[0-9a-f]{8}", first)
    assert plan.planned((), dict(reversed(SETTINGS.items())), "aaa").name == first
    others = {named({"finetune": {"lr": 0.01}}), named(commit="bbb"), named({"seeds": [0, 2, 1]})}
    assert len(others | {first}) == 4
    assert named({"subset_seed": 3, "prepare": {"shots": 10, "per_class": 500}, "image_size": 64}).startswith(
        "k05-subset3-shots10-px64-seeds0-1-2-"
    )
    assert named({"seeds": list(range(20))}).startswith("k05-px32-20seeds-")
    assert named({"classes": ["cat", "dog"]}).startswith("k02-")
    assert named({"dataset": "cifar100", "classes": ["people", "rocket"]}).startswith("k06-")


def test_the_work_of_an_experiment_is_that_of_its_seeds_classes_images_and_pixels():
    def work(change):
        return plan.planned((), SETTINGS | change, "aaa").work / plan.planned((), SETTINGS, "aaa").work

    assert work({"classes": 10}) == 2
    assert work({"image_size": 64}) == 4
    assert work({"seeds": [0]}) == pytest.approx(1 / 3)
    assert work({"prepare": {"shots": 50, "per_class": 500}}) == 0.1
    assert work({"prepare": {"shots": None, "per_class": "all"}}) == plan.IMAGES / 500


def test_the_time_left_is_estimated_without_the_first_experiment():
    assert plan.seconds_left([(50, 2)], 10) is None
    assert plan.seconds_left([(100, 2), (130, 3), (180, 5)], 10) == 100  # 80 s for 8 classes


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "unknown yet"), (0.2, "about 1 s"), (600, "about 10 min"), (9000, "about 2.5 h")]
)
def test_durations_are_told_roughly(seconds, text):
    assert plan.duration(seconds) == text
