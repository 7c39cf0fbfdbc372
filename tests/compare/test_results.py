"""What compare says of all arms: every number where it belongs, the right arm in each cell, and a verdict."""

from dataclasses import asdict

import numpy as np
import pytest

from src.compare import results
from src.compare.config import Compare
from src.core import design
from src.core.errors import UserError
from src.core.records import Interval
from src.records.compare import Comparison
from src.settings.settings import Settings
from src.storage import files, paths
from stages import compare
from tests.helpers.toy_records import COST, evaluation

CLASSES = ["cat", "dog", "frog"]
LABELS = np.repeat(np.arange(3), 20)


def arm(title: str, right: int, labels: np.ndarray = LABELS) -> results.Arm:
    """Of three classes' twenty images each, `right` are taken for what they are, the others for the next class."""
    answers = np.where(np.arange(len(labels)) % 20 < right, labels, (labels + 1) % 3)
    return results.Arm(title, np.eye(3, dtype=np.float32)[answers], labels, np.arange(len(labels)), evaluation())


FOUND = {
    "resnet.full": arm("resnet18, fine-tuned", 16),
    "resnet.knn": arm("resnet18, frozen, k-NN", 8),
    "convnext.full": arm("convnext_tiny, fine-tuned", 18),
    "convnext.zero_shot": arm("convnext_tiny, frozen, zero shot", 19),
    "convnext.knn": arm("convnext_tiny, frozen, k-NN", 10),
}


def report(result: dict[str, results.Arm], unavailable=None, *, seed: int = 0, train_images=()) -> Comparison:
    config = Compare(base_classes=2, confidence=0.9, resamples=200)
    return results.report(result, CLASSES, unavailable or {}, config, seed=seed, train_images=train_images)


@pytest.fixture(scope="module")
def result() -> Comparison:
    return report(FOUND, {"resnet.zero_shot": "no categories"})


def test_every_arm_has_its_accuracy_and_its_cost(result):
    assert [row.arm for row in result.arms] == list(FOUND)
    assert [row.accuracy.value for row in result.arms] == pytest.approx([0.8, 0.4, 0.9, 0.95, 0.5])
    assert all(row.accuracy.low < row.accuracy.value < row.accuracy.high for row in result.arms)
    first = result.arms[0]
    assert (first.arm, first.title, first.val_accuracy) == ("resnet.full", "resnet18, fine-tuned", 0.5)
    assert first.cost.model_dump() == COST
    assert result.arm("convnext.full") == result.arms[2]


def test_the_settings_and_the_number_of_images_are_told(result):
    assert (result.n, result.classes, result.confidence, result.resamples) == (60, CLASSES, 0.9, 200)
    assert result.unavailable == {"resnet.zero_shot": "no categories"}


def test_a_read_out_that_one_backbone_lacks_stands_for_neither(result):
    """zero_shot comes before knn and is ConvNeXt's alone, so that knn stands in both frozen cells."""
    assert result.cells == {
        "resnet.finetuned": "resnet.full",
        "resnet.frozen": "resnet.knn",
        "convnext.finetuned": "convnext.full",
        "convnext.frozen": "convnext.knn",
    }


def test_the_first_listed_adaptation_stands_for_its_column():
    names = ["resnet.lp_ft", "resnet.full", "convnext.centroid", "convnext.linear"]
    assert design.representatives(names) == {
        "resnet.finetuned": "resnet.lp_ft",
        "convnext.frozen": "convnext.centroid",
    }


def test_backbones_that_share_no_read_out_are_refused():
    with pytest.raises(UserError, match=r"^frozen\.readouts: no entry is available for both backbones"):
        design.representatives(["resnet.full", "resnet.linear", "convnext.full", "convnext.zero_shot"])


def test_the_lead_and_the_effects_worked_by_hand(result):
    """ResNet 0.8 and 0.4, ConvNeXt 0.9 and 0.5: parallel, so that nothing interacts."""
    assert result.lead.value == pytest.approx(0.8 - 0.5)
    effects = {name: effect.value for name, effect in result.effects.items()}
    assert effects == pytest.approx({"architecture": 0.1, "finetuning": 0.4, "interaction": 0}, abs=1e-12)


def test_every_two_arms_are_a_pair(result):
    assert len(result.pairs) == 10
    first = result.pairs[0]
    assert (first.first, first.second, first.only_first, first.only_second) == ("resnet.full", "resnet.knn", 24, 0)


def test_the_base_classes_are_tested_with_the_full_head_and_restricted(result):
    """Who says frog to everything, or else dog, is right about dogs once frog is no answer.

    The other arm is right about half of either; the dogs that it took for frogs it then takes for cats, still wrong.
    """
    assert result.base_classes.count == 2
    sure = np.tile([0.0, 1.0, 2.0], (60, 1))  # says frog, then dog, then cat
    frog = results.Arm("resnet18, fine-tuned", sure, LABELS, np.arange(60), evaluation())
    row, other = report({"resnet.full": frog, "convnext.knn": FOUND["convnext.knn"]}).base_classes.arms
    assert (row.arm, row.title) == ("resnet.full", "resnet18, fine-tuned")
    assert (row.full_head.value, row.restricted.value) == (0, 0.5)
    assert (other.full_head.value, other.restricted.value) == (0.5, 0.5)


def test_without_controls_there_are_two_cells_and_no_effects():
    result = report({name: FOUND[name] for name in ("resnet.full", "convnext.knn")})
    assert result.cells == {"resnet.finetuned": "resnet.full", "convnext.frozen": "convnext.knn"}
    assert result.effects == {}
    assert result.lead == result.pairs[0].difference


def test_arms_that_answer_alike_differ_by_nothing_and_the_verdict_says_so():
    result = report({"resnet.full": FOUND["resnet.full"], "convnext.knn": arm("convnext_tiny, frozen, k-NN", 16)})
    assert result.lead == Interval(0.0, 0.0, 0.0)
    assert (result.pairs[0].p, result.pairs[0].p_holm) == (1, 1)
    assert "no difference shown" in result.verdict[0]


def test_the_record_is_read_as_it_was_written_and_its_numbers_are_few(result, tmp_path):
    files.write_record(tmp_path / "compare.json", result)
    assert files.read_record(tmp_path / "compare.json", Comparison) == result
    numbers = result.numbers()
    assert set(numbers) == {"n", "confidence", "resamples", "lead", "effects", "base_classes"}
    assert numbers["lead"] == asdict(result.lead)
    assert numbers["base_classes"] == {"count": 2}
    assert set(numbers["effects"]) == {"architecture", "finetuning", "interaction"}


def test_the_same_seed_gives_the_same_numbers(result):
    assert report(FOUND, result.unavailable) == result
    assert report(FOUND, result.unavailable, seed=1).lead != result.lead


@pytest.mark.parametrize("part", ["index", "labels"])
def test_arms_that_were_tested_on_different_images_are_refused(part):
    other = FOUND["convnext.knn"]
    values = {name: getattr(other, name) for name in ("title", "logits", "labels", "index", "evaluation")}
    changed = results.Arm(**values | {part: values[part][::-1]})
    results.require_same_images(FOUND)
    with pytest.raises(UserError, match=r"^convnext\.knn and resnet\.full were tested on different images"):
        results.require_same_images({"resnet.full": FOUND["resnet.full"], "convnext.knn": changed})


def test_the_tables_that_dvc_draws_hold_the_same_numbers(result):
    tables = results.tables(result)
    columns, rows = tables["arms"]
    assert list(columns[:2]) == ["arm", "accuracy"]
    assert list(rows[0][:2]) == ["resnet18, fine-tuned", pytest.approx(0.8)]
    columns, rows = tables["pairs"]
    assert len(rows) == 10
    assert list(rows[0][:3]) == ["resnet18, fine-tuned", "resnet18, frozen, k-NN", pytest.approx(0.4)]
    columns, rows = tables["table"]
    assert [list(row[:2]) for row in rows] == [
        [role, cell] for role in ("resnet", "convnext") for cell in ("finetuned", "frozen")
    ]
    columns, rows = tables["base_classes"]
    assert list(columns) == ["arm", "accuracy", "restricted"]
    assert all(len(row) == len(columns) for columns, rows in tables.values() for row in rows)


def test_recall_stands_beside_the_training_images_of_classes_that_differ_in_size(result):
    assert result.by_frequency is None
    assert "by_frequency" not in results.tables(result)
    told = report(FOUND, result.unavailable, train_images=[90, 30, 10])
    assert told.by_frequency.train_images == [90, 30, 10]
    first = told.by_frequency.arms[0]
    assert first.recall == pytest.approx([0.8] * 3)
    assert first.balanced_accuracy == pytest.approx(0.8)
    columns, rows = results.tables(told)["by_frequency"]
    assert list(columns) == ["arm", "class", "train_images", "recall"]
    assert rows[1] == ("resnet18, fine-tuned", "dog", 30, pytest.approx(0.8))
    assert len(rows) == 3 * len(FOUND)
    assert told.model_copy(update={"by_frequency": None}) == result


@pytest.mark.parametrize(("imbalance", "told"), [("none", []), ("step", [3, 1])])
def test_the_stage_counts_training_images_where_classes_differ_in_size(imbalance, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_arrays(paths.SUBSET / "subset.npz", train_labels=np.array([0, 0, 1, 0]))
    assert compare.train_images(Settings.model_validate({"prepare": {"imbalance": imbalance}})) == told


def test_balanced_accuracy_is_the_mean_over_classes_and_not_over_images():
    uneven = np.repeat(np.arange(3), [40, 20, 20])
    logits = np.tile(np.float32([1, 0, 0]), (80, 1))  # every image is taken for a cat
    result = {name: results.Arm(arm.title, logits, uneven, np.arange(80), evaluation()) for name, arm in FOUND.items()}
    told = report(result, train_images=[3, 2, 1])
    assert told.arms[0].accuracy.value == 0.5
    assert told.by_frequency.arms[0].balanced_accuracy == pytest.approx(1 / 3)


def test_the_terminal_shows_every_arm_the_effects_and_the_verdict(result):
    lines = results.render(result).splitlines()
    assert lines[0].split() == "arm accuracy 90% interval trained, MACs images/s".split()
    assert lines[1].startswith("resnet18, fine-tuned")
    assert "  0.8000  [" in lines[1]
    assert lines[6] == "60 test images, the same for every arm; one seed"
    assert lines[7].startswith("resnet.full less convnext.knn: +30.00 points  [+")
    assert lines[9].startswith("finetuning: +40.00 points  [+")
    assert lines[11] == "resnet.zero_shot is unavailable: no categories"
    assert lines[-3:] == result.verdict
