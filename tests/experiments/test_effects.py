"""What a setting changed, from runs small enough to be counted by hand, and what is asked of them."""

import io
from dataclasses import replace

import numpy as np
import pytest

from src.core.errors import UserError
from src.core.records import Interval
from src.experiments import __main__, effects
from src.experiments.__main__ import DEFAULTS
from src.experiments.effects import Group
from src.experiments.scaling import LEAD
from tests.helpers.toy_runs import DIAGONAL, LEVEL, run, square

BEFORE = {"finetune.mix": "none", "finetune.mix_alpha": 1.0}
AFTER = {"finetune.mix": "mixup", "finetune.mix_alpha": 0.2}
LABEL = "finetune.mix=mixup, finetune.mix_alpha=0.2"


def group(values, *texts, frozen="1010", first_seed=0):
    """A group whose fine-tuned ResNet got right what `texts` say, seed by seed, on test and validation images."""
    answers = [{"resnet.full": text, "convnext.linear": frozen} for text in texts]
    return Group(values, [run(answers, seed=first_seed, cells=DIAGONAL, validation=answers)])


def by_name(groups, on="test"):
    result = effects.effects(groups, LEVEL.confidence, on)
    return {(effect.name, effect.setting): effect for effect in result}


def test_a_difference_is_paired_by_seed_and_image():
    result = by_name([group(BEFORE, "1100", "1000"), group(AFTER, "1110", "1010")])
    before, after = (result["resnet.full", s] for s in ("finetune.mix=none, finetune.mix_alpha=1.0", LABEL))
    assert (before.accuracy.value, after.accuracy.value) == (0.375, 0.625)
    assert before.difference is None
    assert (after.seeds, after.paired) == (2, 2)
    assert after.difference.value == 0.25
    assert after.difference.low <= 0.25 <= after.difference.high


def test_the_gap_of_the_question_is_compared_as_the_arms_are():
    result = by_name([group(BEFORE, "1100"), group(AFTER, "1111")])
    lead = result[LEAD, LABEL]
    assert lead.title == "resnet, fine-tuned less convnext, frozen, linear"
    assert (lead.accuracy.value, lead.difference.value) == (0.5, 0.5)
    assert lead.train_macs is None


def test_the_first_group_is_the_nearest_to_the_defaults():
    groups = [group(AFTER, "1111"), group(AFTER | {"finetune.mix_alpha": 1.0}, "1111"), group(BEFORE, "1111")]
    assert [part.values["finetune.mix"] for part in effects.order(groups, DEFAULTS)] == [
        "none",
        "mixup",
        "mixup",
    ]


def test_a_label_names_what_differs_from_the_first_group_as_s_takes_it():
    first = Group({"prepare.shots": None, "finetune.lr": 0.001, "controls": False}, [])
    assert first.label(first) == "prepare.shots=null, finetune.lr=0.001, controls=false"
    assert Group({**first.values, "prepare.shots": 5, "finetune.mix": "mixup"}, []).label(first) == (
        "prepare.shots=5, finetune.mix=mixup"
    )


def test_seeds_that_only_one_group_has_are_not_paired():
    result = by_name([group(BEFORE, "1100", "0000"), group(AFTER, "1110", "1111", first_seed=1)])
    effect = result["resnet.full", LABEL]
    assert (effect.seeds, effect.paired) == (2, 1)
    assert effect.difference.value == 0.75  # of seed 1 alone
    assert by_name([group(BEFORE, "1100"), group(AFTER, "1110", first_seed=1)])["resnet.full", LABEL].difference is None


def test_what_no_setting_changes_is_named_once_and_not_drawn():
    groups = [group(BEFORE, "1100" * 25, frozen="1010" * 25), group(AFTER, "0111" * 25, frozen="1010" * 25)]
    result = effects.effects(groups, LEVEL.confidence)
    assert {effect.name for effect in effects.moved(result)} == {"resnet.full", LEAD}
    text = effects.render(result)
    assert "the same under each setting: convnext, frozen, linear" in text
    assert "  finetune.mix=mixup, finetune.mix_alpha=0.2  0.750 [" in text
    assert text.count("+25.0 [") == 2 + 1  # the arm's difference, the gap's, and the gap itself


def test_classes_are_named_by_their_labels():
    assert __main__.labels([], ["cat", "dog"]) == [0, 1]
    assert __main__.labels(["dog"], ["cat", "dog"]) == [1]
    with pytest.raises(UserError, match="--classes dgo: did you mean dog"):
        __main__.labels(["dgo"], ["cat", "dog"])


def test_runs_on_other_images_are_refused_by_name():
    answers = {"resnet.full": "1111", "convnext.linear": "1111"}
    other = replace(run(answers, index=[1, 2, 3, 4], cells=DIAGONAL), name="other")
    with pytest.raises(UserError, match="other and first-first-k2-seed0 were tested on different images"):
        effects.effects([group(BEFORE, "1111"), Group(AFTER, [other])], LEVEL.confidence)


def test_validation_images_are_paired_under_each_seed_and_nested_in_seeds():
    """Two seeds that share no validation image: with each seed's images its own, seeds alone are counted."""

    def held_out(values, *texts):
        answers = [{"resnet.full": text * 25, "convnext.linear": "10" * 50} for text in texts]
        runs = [
            run(part, seed=seed, cells=DIAGONAL, validation=part, val_index=np.arange(100) + 1000 * seed)
            for seed, part in enumerate(answers)
        ]
        return Group(values, runs)

    result = by_name([held_out(BEFORE, "1100", "1000"), held_out(AFTER, "1110", "1010")], "validation")
    effect = result["resnet.full", LABEL]
    assert (effect.accuracy.value, effect.difference.value) == (0.625, 0.25)
    assert (effect.seeds, effect.paired) == (2, 2)
    assert effect.difference.low < 0.25 < effect.difference.high


def test_validation_images_of_another_split_are_refused():
    answers = {"resnet.full": "1111", "convnext.linear": "1111"}
    other = Group(AFTER, [run(answers, cells=DIAGONAL, validation=answers, val_index=[4, 5, 6, 7])])
    with pytest.raises(UserError, match=r"mix_alpha=0.2: its validation images are not those of .* ON=test"):
        effects.effects([group(BEFORE, "1111"), other], LEVEL.confidence)


def test_experiments_without_validation_images_are_refused_by_default():
    answers = {"resnet.full": "1111", "convnext.linear": "1111"}
    groups = [group(BEFORE, "1111"), Group(AFTER, [run(answers, cells=DIAGONAL)])]
    with pytest.raises(UserError, match=r"has no validation images .* ON=test"):
        effects.effects(groups, LEVEL.confidence)


def test_the_images_are_those_of_validation_unless_test_images_are_asked_for():
    assert __main__.parse_effects([]).on == "val"
    assert __main__.parse_effects(["--on", "test"]).on == "test"
    with pytest.raises(UserError, match="--on train: allowed are val, test"):
        __main__.parse_effects(["--on", "train"])
    text = effects.describe([group(BEFORE, "1100", "1000"), group(AFTER, "1110", "1010")], 0.95, "validation")
    assert text == "2 experiments, 2 seeds each, 4 validation images of each seed; 95% intervals"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["finetune.mixx"], "finetune.mixx: no such setting; did you mean finetune.mix"),
        (["finetune.mix"], "finetune.lr differs: 1 in one, 2 in two; name that setting too"),
    ],
)
def test_settings_that_do_not_exist_or_are_not_all_are_refused(wanted, message):
    result = {"one": BEFORE | {"seeds": [0], "finetune.lr": 1}, "two": AFTER | {"seeds": [1], "finetune.lr": 2}}
    with pytest.raises(UserError, match=message):
        __main__.differing(result, wanted)


def test_every_setting_that_differs_counts_where_none_is_named():
    result = {"one": BEFORE | {"seeds": [0], "device": "cpu"}, "two": AFTER | {"seeds": [1], "device": "mps"}}
    assert __main__.differing(result, []) == ["finetune.mix", "finetune.mix_alpha"]
    with pytest.raises(UserError, match="these 2 experiments differ in no setting but the seeds"):
        __main__.differing({"one": BEFORE | {"seeds": [0]}, "two": BEFORE | {"seeds": [1]}}, [])


def test_the_picture_has_every_difference_with_its_interval_and_comes_out_the_same():
    runs = [square("1100" * 20, "1000" * 20, "1110" * 20, "1010" * 20, seed=seed) for seed in range(2)]
    better = [square("1101" * 20, "1001" * 20, "0110" * 20, "1010" * 20, seed=seed) for seed in range(2)]
    groups = [Group(BEFORE, runs), Group(AFTER, better)]
    moved = effects.moved(effects.effects(groups, LEVEL.confidence, "test"))

    def drawn() -> bytes:
        file = io.BytesIO()
        effects.differences(moved, "note").savefig(file)
        return file.getvalue()

    figure = effects.differences(moved, "note")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [LABEL.replace(", ", "\n")]
    middles = {part.get_label(): part[0].get_xdata()[0] for part in axes.containers}
    assert middles["resnet, fine-tuned"] == pytest.approx(25)
    assert middles["convnext, fine-tuned"] == pytest.approx(-25)
    assert drawn() == drawn()


def test_a_row_of_the_table_is_flat():
    (effect, *_) = effects.effects([group(BEFORE, "1100"), group(AFTER, "1110")], LEVEL.confidence)
    row = replace(effect, difference=Interval(0.1, 0.0, 0.2)).row()
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (0.1, 0.0, 0.2)
    assert list(row) == list(effect.row())


def test_other_classes_are_refused_before_predictions_are_read():
    classes = {"two": ["cat", "dog"], "also": ["cat", "dog"], "three": ["cat", "dog", "ship"]}
    with pytest.raises(
        UserError, match=r"two has 2 classes and three 3, or others: .* `make scaling` compares"
    ) as error:
        __main__.require_same_classes(classes, [])
    assert "\n" not in str(error.value)
    __main__.require_same_classes(classes, ["cat"])  # on whose images all can be compared
    __main__.require_same_classes({"two": ["cat", "dog"], "also": ["cat", "dog"]}, [])


def test_the_commits_own_result_takes_part_where_it_adds_no_other_difference(capsys):
    head = BEFORE | {"seeds": [0], "classes": 10}
    two, three = (part | {"seeds": [0], "classes": 2} for part in (BEFORE, AFTER))
    assert __main__.adds({"one": two, "two": three, "HEAD": head}) == ["classes"]
    assert __main__.adds({"one": two, "HEAD": three}) == []  # there is nothing else to compare
    assert __main__.adds({"one": two, "two": three, "HEAD": two}) == []
    assert set(__main__.without_commit({"one": two, "HEAD": head}, "why")) == {"one"}
    assert capsys.readouterr().out == "left out: the commit's own result, as why\n"
    assert set(__main__.without_commit({"HEAD": head}, "why")) == {"HEAD"}
