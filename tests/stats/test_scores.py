"""Scores: against numbers worked by hand and reference libraries."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix, log_loss, top_k_accuracy_score
from torch import from_numpy
from torch.nn import functional as F

from src.stats import scores

# Four images of cats (0), dogs (1) and frogs (2): right, right, a dog taken for a cat, right. Nobody says frog.
CLASSES = ["cat", "dog", "frog"]
LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]))
LABELS = np.array([0, 0, 1, 1])

RANDOM = np.random.default_rng(0)
MANY_LOGITS, MANY_LABELS = RANDOM.normal(size=(200, 7)).astype(np.float32), RANDOM.integers(7, size=200)


def test_accuracy_worked_by_hand():
    assert scores.accuracy(LOGITS, LABELS) == 0.75


def test_nll_worked_by_hand():
    assert scores.nll(LOGITS, LABELS) == pytest.approx(-sum(map(math.log, (0.7, 0.6, 0.4, 0.7))) / 4)


def test_nll_equals_pytorchs_cross_entropy_and_scikit_learns_log_loss():
    result = scores.nll(MANY_LOGITS, MANY_LABELS)
    assert result == pytest.approx(F.cross_entropy(from_numpy(MANY_LOGITS), from_numpy(MANY_LABELS)).item(), rel=1e-5)
    probabilities = np.exp(MANY_LOGITS) / np.exp(MANY_LOGITS).sum(1, keepdims=True)
    assert result == pytest.approx(log_loss(MANY_LABELS, probabilities), rel=1e-5)


def test_nll_of_a_guess_among_k_is_log_k():
    assert scores.nll(np.zeros((5, 8), np.float32), np.arange(5)) == pytest.approx(math.log(8))


def test_nll_of_huge_logits_stays_a_number():
    assert scores.nll(np.array([[1e30, 0.0]], np.float32), np.array([1])) == pytest.approx(1e30)


def test_confusion_has_actual_classes_by_row_and_predicted_ones_by_column():
    assert scores.confusion(LOGITS, LABELS).tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_per_class_worked_by_hand():
    """Cat: 3 predicted, 2 rightly, of 2. Dog: 1 predicted, rightly, of 2. Frog: none, of none, so all is zero."""
    cat, dog, frog = scores.per_class(LOGITS, LABELS, CLASSES)
    assert cat == {"class": "cat", "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "n": 2}
    assert dog == {"class": "dog", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}
    assert frog == {"class": "frog", "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0}


def test_summary_worked_by_hand():
    result = scores.summary(LOGITS, LABELS, CLASSES)
    assert result["accuracy"] == 0.75
    assert result["n"] == 4
    assert result["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert result["top2_accuracy"] == 1.0  # the third image's second guess is right
    assert result["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_summary_is_scikit_learns():
    names = list("abcdefg")
    result = scores.summary(MANY_LOGITS, MANY_LABELS, names)
    expected = classification_report(MANY_LABELS, MANY_LOGITS.argmax(1), target_names=names, output_dict=True)
    assert result["accuracy"] == pytest.approx(expected["accuracy"])
    assert result["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"])
    assert [row["recall"] for row in result["per_class"]] == pytest.approx([expected[name]["recall"] for name in names])
    for k in (2, 5):
        best = np.argsort(-MANY_LOGITS, axis=1)[:, :k]
        assert result[f"top{k}_accuracy"] == pytest.approx(np.mean((best == MANY_LABELS[:, None]).any(1)))


@pytest.mark.parametrize(
    ("classes", "names"),
    [(2, []), (3, ["top2_accuracy"]), (5, ["top2_accuracy"]), (6, ["top2_accuracy", "top5_accuracy"])],
)
def test_top_k_is_given_where_it_says_something(classes, names):
    labels = np.arange(classes)
    result = scores.summary(np.eye(classes), labels, list(map(str, labels)))
    assert [name for name in result if name.startswith("top")] == names


def test_a_summary_is_json_with_its_details_in_lists():
    result = scores.summary(MANY_LOGITS, MANY_LABELS, list("abcdefg"))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert not any(isinstance(value, dict) for value in result.values())


def test_classes_that_cannot_be_predicted_are_named():
    logits = np.array([[2, 1, -np.inf], [1, 2, -np.inf], [2, 1, -np.inf], [2, 1, -np.inf]], np.float32)
    result = scores.summary(logits, np.array([0, 1, 1, 2]), CLASSES)
    assert result["accuracy"] == 0.5
    assert result["unmapped"] == ["frog"]
    assert result["mapped"] == {"accuracy": pytest.approx(2 / 3), "n": 3}
    assert result["top2_accuracy"] == 0.75


def test_an_arm_that_can_predict_every_class_names_no_unmapped_ones():
    assert not {"unmapped", "mapped"} & scores.summary(LOGITS, LABELS, CLASSES).keys()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_and_confusion_are_those_of_scikit_learn(k):
    """With ties: each logit is one of four values."""
    logits = np.random.default_rng(1).integers(4, size=(300, 7)).astype(np.float32)
    labels = np.random.default_rng(2).integers(7, size=300)
    assert scores.top_k(logits, labels, k) == top_k_accuracy_score(labels, logits, k=k, labels=np.arange(7))
    np.testing.assert_array_equal(scores.confusion(logits, labels), confusion_matrix(labels, logits.argmax(1)))
