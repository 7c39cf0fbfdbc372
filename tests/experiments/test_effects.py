"""What a setting changed, from runs small enough to be counted by hand, and what is asked of them."""

import io
from dataclasses import replace

import numpy as np
import pytest

from src.core.errors import UserError
from src.core.records import Interval
from src.experiments import __main__, effects
from src.experiments.__main__ import DEFAULTS
from src.experiments.effects import LEAD, Group
from tests.helpers.toy_runs import DIAGONAL, SAMPLING, run, square

BEFORE = {"finetune.mix": "none", "finetune.mix_alpha": 1.0}
AFTER = {"finetune.mix": "mixup", "finetune.mix_alpha": 0.2}
LABEL = "finetune.mix=mixup, finetune.mix_alpha=0.2"


def group(values, *texts, frozen="1010", first_seed=0):
    """A group in which the fine-tuned ResNet got right what `texts` say, seed by seed."""
    answers = [{"resnet.full": text, "convnext.linear": frozen} for text in texts]
    runs = [run(given, seed=seed, cells=DIAGONAL) for seed, given in enumerate(answers, first_seed)]
    return Group(values, {result.seed: result for result in runs})


def by_name(groups):
    result = effects.effects(groups, SAMPLING)
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
    first = Group({"frozen.shots": None, "finetune.lr": 0.001, "tune.enabled": False}, {})
    assert first.label(first) == "frozen.shots=null, finetune.lr=0.001, tune.enabled=false"
    assert Group({**first.values, "frozen.shots": 5, "finetune.mix": "mixup"}, {}).label(first) == (
        "frozen.shots=5, finetune.mix=mixup"
    )


def test_seeds_that_only_one_group_has_are_not_paired():
    result = by_name([group(BEFORE, "1100", "0000"), group(AFTER, "1110", "1111", first_seed=1)])
    effect = result["resnet.full", LABEL]
    assert (effect.seeds, effect.paired) == (2, 1)
    assert effect.difference.value == 0.75  # of seed 1 alone
    assert by_name([group(BEFORE, "1100"), group(AFTER, "1110", first_seed=1)])["resnet.full", LABEL].difference is None


def test_what_no_setting_changes_is_named_once_and_not_drawn():
    groups = [group(BEFORE, "1100" * 25, frozen="1010" * 25), group(AFTER, "0111" * 25, frozen="1010" * 25)]
    result = effects.effects(groups, SAMPLING)
    assert {effect.name for effect in effects.moved(result)} == {"resnet.full", LEAD}
    text = effects.render(result)
    assert "the same under each setting: convnext, frozen, linear" in text
    assert "  finetune.mix=mixup, finetune.mix_alpha=0.2  0.750 [" in text
    assert text.count("+25.0 [") == 2 + 1  # the arm's difference, the gap's, and the gap itself


def test_the_images_of_some_classes_can_be_looked_at_alone():
    result = effects.only(run({"resnet.full": "110010"}, classes=3), [1, 2])
    assert result.labels.tolist() == [1, 2, 1, 2]
    assert result.right["resnet.full"].tolist() == [True, False, True, False]
    assert __main__.labels([], ["cat", "dog"]) == [0, 1]
    assert __main__.labels(["dog"], ["cat", "dog"]) == [1]
    with pytest.raises(UserError, match="--classes dgo: did you mean dog"):
        __main__.labels(["dgo"], ["cat", "dog"])


def test_runs_on_other_images_are_refused_by_name():
    other = group(AFTER, "1111")
    other.runs[0] = replace(other.runs[0], name="other", index=np.arange(4) + 1)
    with pytest.raises(UserError, match="other and first-first-k2-seed0 were tested on different images"):
        effects.effects([group(BEFORE, "1111"), other], SAMPLING)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["finetune.mixx"], "finetune.mixx: no such setting; did you mean finetune.mix"),
        (["finetune.mix"], "finetune.lr differs: 1 in one, 2 in two; name that setting too"),
    ],
)
def test_settings_that_do_not_exist_or_are_not_all_are_refused(wanted, message):
    result = {"one": BEFORE | {"seed": 0, "finetune.lr": 1}, "two": AFTER | {"seed": 1, "finetune.lr": 2}}
    with pytest.raises(UserError, match=message):
        __main__.differing(result, wanted)


def test_every_setting_that_differs_counts_where_none_is_named():
    result = {"one": BEFORE | {"seed": 0, "device": "cpu"}, "two": AFTER | {"seed": 1, "device": "mps"}}
    assert __main__.differing(result, []) == ["finetune.mix", "finetune.mix_alpha"]
    with pytest.raises(UserError, match="these 2 experiments differ in no setting but the seed"):
        __main__.differing({"one": BEFORE | {"seed": 0}, "two": BEFORE | {"seed": 1}}, [])


def test_the_picture_has_every_difference_with_its_interval_and_comes_out_the_same():
    runs = [square("1100" * 20, "1000" * 20, "1110" * 20, "1010" * 20, seed=seed) for seed in range(2)]
    better = [square("1101" * 20, "1001" * 20, "0110" * 20, "1010" * 20, seed=seed) for seed in range(2)]
    groups = [
        Group(values, {result.seed: result for result in part}) for values, part in ((BEFORE, runs), (AFTER, better))
    ]
    moved = effects.moved(effects.effects(groups, SAMPLING))

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
    (effect, *_) = effects.effects([group(BEFORE, "1100"), group(AFTER, "1110")], SAMPLING)
    row = replace(effect, difference=Interval(0.1, 0.0, 0.2)).row()
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (0.1, 0.0, 0.2)
    assert list(row) == list(effect.row())
