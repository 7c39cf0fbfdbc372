"""Which experiments belong into one picture."""

import pytest

from src.core.errors import UserError
from src.experiments import agree

PLAIN = {
    "protocol": "fair",
    "classes": 2,
    "seeds": [0],
    "subset_seed": None,
    "device": "cpu",
    "precision": "fp32",
    "image_size": 32,
    "prepare.shots": None,
    "finetune.lr": 0.001,
    "frozen.readouts": ["linear"],
}


def test_runs_that_differ_in_what_a_sweep_varies_or_in_the_device_are_mixed():
    other = {"classes": 5, "seeds": [3], "subset_seed": 7, "device": "cuda", "image_size": 64, "prepare.shots": 10}
    assert agree.mixed({"one": PLAIN, "two": PLAIN | other}) is None


def test_another_setting_is_refused_with_its_values_and_experiments():
    result = {"one": PLAIN, "two": PLAIN | {"finetune.lr": 0.01}, "three": PLAIN}
    assert agree.mixed(result) == "finetune.lr differs: 0.001 in one, three, 0.01 in two"


def test_a_setting_that_an_older_run_does_not_have_differs_too():
    older = {key: value for key, value in PLAIN.items() if key != "finetune.lr"}
    assert agree.mixed({"new": PLAIN, "old": older}) == "finetune.lr differs: 0.001 in new, null in old"


def test_what_is_switched_off_does_not_count_and_what_switches_it_frees_it():
    off = {"finetune.mix": "none", "finetune.mix_alpha": 1, "robustness.enabled": False, "robustness.steps": 5}
    left = {"finetune.mix": "none", "robustness.enabled": False, "dataset": "digits"}
    assert agree.used(off | {"dataset": "digits", "folder": "x"}) == left
    on = {"finetune.mix": "mixup", "finetune.mix_alpha": 0.2, "robustness.enabled": True, "robustness.steps": 5}
    assert agree.used(on) == on
    result = {
        "one": PLAIN | {"finetune.mix": "none"},
        "two": PLAIN | {"finetune.mix": "mixup", "finetune.mix_alpha": 2},
    }
    assert agree.mixed(result, ("finetune.mix",)) is None
    assert agree.mixed(result, ("robustness.enabled",)) == "finetune.mix differs: none in one, mixup in two"


def test_the_protocol_frees_what_it_decides_and_names_it():
    report = PLAIN | {"protocol": "report", "image_size": 32, "finetune.lr": 0.01, "frozen.readouts": ["random_head"]}
    assert agree.mixed({"one": PLAIN, "two": report}, ("protocol",)) is None
    keys = list(agree.varied({"one": PLAIN, "two": report}))
    assert agree.named_by(keys, report) == {"protocol": "report"}
    assert agree.named_by(keys, report | {"finetune.lr": 0.1}) == {"protocol": "report", "finetune.lr": 0.1}


def test_the_precision_counts_where_its_effect_is_wanted():
    result = {"one": PLAIN, "two": PLAIN | {"precision": "bf16"}}
    assert agree.varied(result) == {}
    assert list(agree.varied(result, ("precision",))) == ["precision"]


def test_most_experiments_that_differ_in_the_wanted_settings_alone_are_chosen():
    result = {
        "base": PLAIN,
        "again": PLAIN | {"seeds": [1]},
        "few": PLAIN | {"prepare.shots": 5},
        "slow": PLAIN | {"finetune.lr": 0.1},
        "slower": PLAIN | {"finetune.lr": 0.1, "seeds": [1]},
        "more": PLAIN | {"finetune.lr": 0.1, "seeds": [2]},
    }
    assert agree.agreeing(result, ("seeds", "prepare.shots")) == ["base", "again", "few"]
    assert agree.agreeing(result, ("seeds", "finetune.epochs")) == list(result)


def machine(**changes):
    return {"device": "cpu", "precision": "fp32", "threads": 2, "processor": "A", "commit": "c"} | changes


@pytest.mark.parametrize(
    ("key", "value", "todo"), [("precision", "bf16", "precision=fp32"), ("device", "mps", "one device")]
)
def test_machines_whose_numbers_do_not_compare_are_refused_unless_they_may_be_mixed(key, value, todo):
    recorded = {"one": [machine()], "two": [machine(**{key: value})], "three": [machine()]}
    message = f"{key} differs between the machines: {machine()[key]} in one, three, {value} in two; .* {todo}.*--mixed"
    with pytest.raises(UserError, match=message):
        agree.differing_machines(recorded, mixed=False)
    said = [f"{key} differs: {machine()[key]} in one, three, {value} in two (--mixed)"]
    assert agree.differing_machines(recorded, mixed=True) == said
    assert agree.differing_machines(recorded, mixed=False, free=[key]) == []


def test_threads_and_processors_that_differ_are_named():
    recorded = {"one": [machine()], "two": [machine(threads=8, processor="B")]}
    assert agree.differing_machines(recorded, mixed=False) == [
        "threads differs: 2 in one, 8 in two",
        "processor differs: A in one, B in two",
    ]


def test_records_of_one_experiment_that_differ_are_a_kind_of_their_own():
    """As bf16 trains and fp32 evaluates."""
    recorded = {"one": [machine(precision="bf16"), machine()], "two": [machine(), machine()]}
    with pytest.raises(UserError, match="precision differs between the machines: bf16 and fp32 in one, fp32 in two"):
        agree.differing_machines(recorded, mixed=False)


def test_of_many_names_the_first_are_listed():
    assert agree.listed(list("abc")) == "a, b, c"
    assert agree.listed(list("abcde")) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("settings", "series", "subset"),
    [
        ({"classes": 5, "subset_seed": None}, "first", "first"),
        ({"classes": 5, "subset_seed": 0}, "random", "subset_seed 0"),
        ({"classes": ["cat", "dog"], "subset_seed": None}, "named", "cat, dog"),
    ],
)
def test_the_way_that_classes_were_chosen_is_the_series(settings, series, subset):
    assert agree.subset_of(settings) == (series, subset)
