"""Results: what is saved of an arm says the same in every file."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from src.evaluate import arm
from src.records.evaluate import Scores
from src.stats import calibration, scores
from src.storage import files

CLASSES = ["cat", "dog", "frog"]
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(3, size=50)
LOGITS = (np.eye(3)[LABELS] + RANDOM.normal(size=(50, 3))).astype(np.float32)
VAL_LABELS = RANDOM.integers(3, size=20)
VAL_LOGITS = (np.eye(3)[VAL_LABELS] + RANDOM.normal(size=(20, 3))).astype(np.float32)
INDEX = RANDOM.permutation(1000)[:50]


@pytest.fixture
def result(tmp_path) -> Scores:
    predictions = arm.Predictions(LOGITS, LABELS, INDEX, VAL_LOGITS, VAL_LABELS)
    return arm.write_arm(tmp_path, tmp_path / "plots", "arm", "title", predictions, CLASSES)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_are_saved_as_they_are(tmp_path, result):
    saved = files.read_arrays(tmp_path / "arm.npz")
    assert saved.keys() == {"logits", "labels", "index", "val_logits", "val_labels"}
    np.testing.assert_array_equal(saved["logits"], LOGITS)
    np.testing.assert_array_equal(saved["labels"], LABELS)
    np.testing.assert_array_equal(saved["index"], INDEX)
    np.testing.assert_array_equal(saved["val_logits"], VAL_LOGITS)
    np.testing.assert_array_equal(saved["val_labels"], VAL_LABELS)
    assert scores.accuracy(saved["logits"], saved["labels"]) == result.accuracy


def test_the_table_of_guesses_counts_as_the_confusion_matrix_does(tmp_path, result):
    rows = Counter((row["actual"], row["predicted"]) for row in table(tmp_path / "plots" / "confusion" / "arm.csv"))
    assert sum(rows.values()) == 50
    counts = [[rows[actual, predicted] for predicted in CLASSES] for actual in CLASSES]
    assert counts == result.confusion


def test_the_table_by_class_is_the_recall_of_the_metrics(tmp_path, result):
    rows = table(tmp_path / "plots" / "per_class" / "arm.csv")
    assert [(row["class"], float(row["accuracy"])) for row in rows] == [
        (row.name, row.recall) for row in result.per_class
    ]


def test_the_metrics_are_the_summary_of_the_logits_and_how_far_they_can_be_trusted(result):
    calibrated = calibration.summary(LOGITS, LABELS, VAL_LOGITS, VAL_LABELS)
    validated = {"val_accuracy": scores.accuracy(VAL_LOGITS, VAL_LABELS)}
    told = result.model_dump(exclude_none=True, exclude={"per_class", "unmapped"})
    expected = scores.summary(LOGITS, LABELS, CLASSES) | validated | calibrated
    per_class = expected.pop("per_class")
    assert told == expected
    assert [row.f1 for row in result.per_class] == [row["f1"] for row in per_class]


@pytest.mark.usefixtures("result")
def test_a_picture_is_drawn_and_nothing_else_is_left(tmp_path):
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"arm.npz", *(f"plots/{kind}/arm.csv" for kind in ("confusion", "per_class"))} | {
        "plots/pictures/confusion_arm.png"
    }
    assert (tmp_path / "plots/pictures/confusion_arm.png").read_bytes().startswith(b"\x89PNG")
