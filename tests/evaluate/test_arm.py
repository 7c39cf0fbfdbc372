"""Results: what is saved of an arm says the same in every file."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from src.core.records import mean
from src.evaluate import arm, frozen
from src.readouts.base import Readout
from src.records.evaluate import Scores
from src.stats import calibration, scores
from src.storage import files

CLASSES = ["cat", "dog", "frog"]


def drawn(seed: int) -> arm.Predictions:
    """Predictions of 50 test and 20 validation images."""
    rng = np.random.default_rng(seed)

    def answers(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(3, size=n)
        return (np.eye(3)[labels] + rng.normal(size=(n, 3))).astype(np.float32), labels

    return arm.Predictions(*answers(50), rng.permutation(1000)[:50], *answers(20))


PREDICTIONS = drawn(0), drawn(1)


@pytest.fixture
def result(tmp_path) -> Scores:
    """The mean over two seeds."""
    scored = mean([arm.score(one, CLASSES) for one in PREDICTIONS])
    arm.write_figures(tmp_path / "plots", "arm", "title", PREDICTIONS, scored, CLASSES)
    return scored


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_are_saved_as_they_are_beside_the_weights_of_an_affine_arm(tmp_path):
    affine = {"weight": np.eye(3)}
    frozen.write(tmp_path, "arm", Readout(np.asarray, affine=affine), PREDICTIONS[0])
    saved = files.read_arrays(tmp_path / "arm.npz")
    assert saved.keys() == {"logits", "labels", "index", "val_logits", "val_labels"}
    for name, array in saved.items():
        np.testing.assert_array_equal(array, getattr(PREDICTIONS[0], name))
    np.testing.assert_array_equal(files.read_arrays(tmp_path / "affine" / "arm.npz")["weight"], np.eye(3))


def test_the_table_of_guesses_counts_as_the_confusion_matrix_does_over_all_seeds(tmp_path, result):
    table_of_guesses = table(tmp_path / "plots" / "confusion" / "arm.csv")
    rows = Counter({(row["actual"], row["predicted"]): int(row["images"]) for row in table_of_guesses})
    assert sum(rows.values()) == 2 * 50
    assert len(rows) == len(table_of_guesses) <= len(CLASSES) ** 2
    counts = [[rows[actual, predicted] for predicted in CLASSES] for actual in CLASSES]
    assert counts == result.confusion


def test_the_table_by_class_is_the_recall_of_the_metrics(tmp_path, result):
    rows = table(tmp_path / "plots" / "per_class" / "arm.csv")
    assert [(row["class"], float(row["accuracy"])) for row in rows] == [
        (row.name, row.recall) for row in result.per_class
    ]


def test_the_scores_are_the_summary_of_the_logits_and_how_far_they_can_be_trusted():
    one = PREDICTIONS[0]
    told = arm.score(one, CLASSES).model_dump(exclude_none=True, exclude={"per_class", "unmapped"})
    expected = scores.summary(one.logits, one.labels, CLASSES)
    expected |= calibration.summary(one.logits, one.labels, one.val_logits, one.val_labels)
    expected |= {"val_accuracy": scores.accuracy(one.val_logits, one.val_labels)}
    per_class = expected.pop("per_class")
    assert told == expected
    assert [row.f1 for row in arm.score(one, CLASSES).per_class] == [row["f1"] for row in per_class]


def test_on_watched_test_images_no_temperature_is_fitted_and_without_any_there_is_no_accuracy_of_them():
    one = PREDICTIONS[0]
    assert arm.score(one, CLASSES).calibrated.temperature != 1
    watched = arm.score(one, CLASSES, calibrate=False)
    assert watched.calibrated.temperature == 1
    assert watched.val_accuracy == scores.accuracy(one.val_logits, one.val_labels)
    none = arm.Predictions(one.logits, one.labels, one.index, one.val_logits[:0], one.val_labels[:0])
    assert arm.score(none, CLASSES).val_accuracy is None


@pytest.mark.usefixtures("result")
def test_a_picture_is_drawn_and_nothing_else_is_left(tmp_path):
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"plots/confusion/arm.csv", "plots/per_class/arm.csv", "pictures/plots/confusion_arm.png"}
    assert (tmp_path / "pictures/plots/confusion_arm.png").read_bytes().startswith(b"\x89PNG")


def test_the_record_of_a_thousand_classes_is_below_a_megabyte_under_five_seeds_and_complete(tmp_path):
    labels = np.arange(10_000) % 1000
    logits = np.random.default_rng(0).standard_normal((10_000, 1000), np.float32)
    logits[::2][np.arange(5000), labels[::2]] += 9
    part = arm.Predictions(logits, labels, np.arange(10_000), logits[:1000], labels[:1000])
    scored = arm.score(part, [f"class {label}" for label in range(1000)])
    files.write_record(tmp_path / "scores.json", scored)
    assert (tmp_path / "scores.json").stat().st_size < 200_000
    assert files.read_record(tmp_path / "scores.json", type(scored)) == scored
    assert sum(map(sum, scored.confusion)) == 10_000
