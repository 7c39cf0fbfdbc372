"""Calibration: against numbers worked by hand, reference libraries, and temperatures that were planted."""

import json
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, log_softmax
from scipy.stats import foldnorm
from sklearn.metrics import brier_score_loss, log_loss

from src.stats import calibration

RANDOM = np.random.default_rng(0)
MANY_LOGITS, MANY_LABELS = RANDOM.normal(size=(500, 7)).astype(np.float32) * 2, RANDOM.integers(7, size=500)


def sure(*confidences: float) -> np.ndarray:
    """Logits of two classes, of which the first has these probabilities."""
    return np.log([[p, 1 - p] for p in confidences])


def planted(t: float, n: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `t` times too large for labels drawn by their softmax."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(n, classes)) * 2
    labels = (logits + rng.gumbel(size=(n, classes))).argmax(1)  # Gumbel's trick draws by the softmax
    return logits * t, labels


def test_who_is_right_as_often_as_he_says_is_calibrated():
    """Ten images at 0.8, eight of them right, and ten at 0.6, six of them right."""
    logits = sure(*[0.8] * 10, *[0.6] * 10)
    labels = np.array([0] * 8 + [1] * 2 + [0] * 6 + [1] * 4)
    assert calibration.ece(logits, labels, bins=10) == pytest.approx(0, abs=1e-12)


def test_ece_worked_by_hand():
    """In (0.9, 1]: sure of 0.95, half of two right. In (0.6, 0.7]: sure of 0.65, all of two right, without noise.

    The first bin's noise has the standard deviation sqrt(0.5 x 0.5 / 2), and adds to the gap of 0.45.
    """
    logits, labels = sure(0.95, 0.95, 0.65, 0.65), np.array([0, 1, 0, 0])
    noise = np.sqrt(0.5 * 0.5 / 2)
    first = 2 * 0.45 - foldnorm.mean(0.45 / noise, scale=noise)
    assert calibration.ece(logits, labels, bins=10) == pytest.approx(0.5 * first + 0.5 * 0.35)


def plain(logits: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error of Guo et al. 2017, which is too large."""
    result = calibration.reliability(logits, labels)
    return float((result.count * np.abs(result.confidence - result.accuracy)).sum() / len(labels))


def test_ece_of_few_images_is_nearer_to_the_truth_than_the_plain_sum():
    """A calibrated network of five classes, 359 images, 100 times; with every logit doubled the truth is far from 0."""
    logits, labels = planted(1, n=35_900)
    parts = list(zip(np.split(logits, 100), np.split(labels, 100), strict=True))
    assert np.mean([plain(*part) for part in parts]) > 0.05
    assert np.mean([calibration.ece(*part) for part in parts]) < 0.04
    many = plain(2 * planted(1, n=400_000)[0], planted(1, n=400_000)[1])
    assert np.mean([calibration.ece(2 * x, y) for x, y in parts]) == pytest.approx(many, abs=0.005)


def test_reliability_worked_by_hand():
    """Bins end where they say: 0.75 of four bins belongs to (0.5, 0.75]."""
    result = calibration.reliability(sure(0.75, 0.9, 0.7, 1 - 1e-9), np.array([0, 1, 1, 0]), bins=4)
    assert result.count.tolist() == [0, 0, 2, 2]
    assert result.confidence == pytest.approx([0, 0, 0.725, 0.95])
    assert result.accuracy == pytest.approx([0, 0, 0.5, 0.5])


def test_every_image_is_in_one_bin_and_the_bins_accuracies_make_the_accuracy():
    result = calibration.reliability(MANY_LOGITS, MANY_LABELS)
    assert len(result.count) == 15
    assert result.count.sum() == 500
    accuracy = (MANY_LOGITS.argmax(1) == MANY_LABELS).mean()
    assert (result.count * result.accuracy).sum() / 500 == pytest.approx(accuracy)
    filled = result.count > 0
    assert (result.confidence[filled] > np.arange(15)[filled] / 15).all()
    assert (result.confidence[filled] <= np.arange(1, 16)[filled] / 15).all()


def test_complete_certainty_belongs_to_the_last_bin():
    result = calibration.reliability(np.array([[1e6, 0.0]]), np.array([0]))
    assert result.count.tolist() == [0] * 14 + [1]


def test_brier_worked_by_hand():
    """Probabilities 0.7, 0.2, 0.1: right, 0.3^2 + 0.2^2 + 0.1^2; the second is true, 0.7^2 + 0.8^2 + 0.1^2."""
    logits = np.log([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    assert calibration.brier(logits, np.array([0, 1])) == pytest.approx((0.14 + 1.14) / 2)


def test_brier_is_scikit_learns_sum_over_classes():
    probabilities = np.exp(log_softmax(MANY_LOGITS.astype(float), axis=1))
    expected = brier_score_loss(MANY_LABELS, probabilities, scale_by_half=False)
    assert calibration.brier(MANY_LOGITS, MANY_LABELS) == pytest.approx(expected)


def test_brier_of_certainty_is_nothing_where_right_and_two_where_wrong():
    assert calibration.brier(np.array([[1e3, 0.0], [1e3, 0.0]]), np.array([0, 1])) == pytest.approx(1)


def test_nll_is_scikit_learns_log_loss():
    probabilities = np.exp(log_softmax(MANY_LOGITS.astype(float), axis=1))
    assert calibration.nll(MANY_LOGITS, MANY_LABELS) == pytest.approx(log_loss(MANY_LABELS, probabilities))


@pytest.mark.parametrize("t", [0.02, 0.5, 1, 3, 50])
def test_a_planted_temperature_is_found(t):
    assert calibration.temperature(*planted(t)) == pytest.approx(t, rel=0.03)


def test_logits_of_another_scale_give_the_temperature_of_that_scale():
    """All but for the prior, which weighs one image in 5,000."""
    logits, labels = planted(2, n=5000)
    assert calibration.temperature(8 * logits, labels) == pytest.approx(
        8 * calibration.temperature(logits, labels), rel=0.01
    )


def test_a_fitted_temperature_lowers_the_nll_of_the_images_that_it_was_fitted_on():
    logits, labels = planted(4, n=500)
    result = calibration.summary(logits, labels, logits, labels)
    for score in ("nll", "brier", "ece"):
        assert result["calibrated"][score] < 0.9 * result[score]


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.eye(3)[[0, 1, 2]] * 5, np.arange(3)),  # all right: the likeliest temperature would be 0
        (np.eye(3)[[0, 0, 0]], np.zeros(3, int)),  # one class
        (np.eye(3)[[0, 1, 2]] * 5, np.array([1, 2, 0])),  # all wrong: it would be infinite
        (np.zeros((4, 3)), np.array([0, 1, 2, 0])),  # says nothing
        (np.eye(3)[[0]] * 1e30, np.array([0])),
        (np.zeros((0, 3)), np.zeros(0, int)),  # no image at all
    ],
)
def test_a_temperature_is_within_bounds_whatever_the_validation_images_are(logits, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = calibration.temperature(logits, labels)
    assert calibration.BOUNDS[0] <= result <= calibration.BOUNDS[1]


def test_few_validation_images_that_are_all_right_do_not_ruin_the_likelihood():
    """Ten right images alone would ask for a temperature of 0, at which a wrong image costs thousands of nats."""
    val_logits, val_labels = 3 * np.eye(2)[[0, 1] * 5], np.array([0, 1] * 5)
    result = calibration.summary(3 * np.eye(2), np.array([0, 0]), val_logits, val_labels)
    assert result["calibrated"]["nll"] < 6
    # Where the likelihood of ten images whose logits differ by 3 rises as fast as the prior of one falls.
    t = result["calibrated"]["temperature"]
    assert 10 * expit(-3 / t) * 3 / t == pytest.approx(-np.log(t), rel=1e-3)
    assert t < 0.8


def test_no_temperature_without_validation_images():
    logits, labels = planted(4, n=500)
    for none in ((), (None, None), (logits[:0], labels[:0])):
        result = calibration.summary(logits, labels, *none)
        assert result["calibrated"] == {"temperature": 1.0} | {name: result[name] for name in ("nll", "brier", "ece")}


def test_images_that_are_wrong_with_certainty_do_not_make_all_others_unsure():
    """Probabilities that are right but for a twentieth of the labels, which logits of 30 exclude."""
    logits = np.where(np.arange(2) == 0, 30.0, 0.0)[None].repeat(100, 0)
    labels = (np.arange(100) % 20 == 0).astype(int)
    logits[:60] = np.log([0.9, 0.1])
    labels[:60] = np.arange(60) % 10 == 0
    likeliest = min(np.geomspace(1, 100, 200), key=lambda t: calibration.nll(logits / t, labels))
    assert calibration.brier(logits / likeliest, labels) > calibration.brier(logits, labels)
    assert calibration.temperature(logits, labels) == 1


@pytest.fixture(scope="module")
def stored() -> dict[str, list[tuple[np.ndarray, ...]]]:
    """By arm the logits and labels of test and validation images of several seeds.

    `lite0` and `lite2` are EfficientNet-Lite: read-outs of scikit-learn's digits at 64 pixels, splits of seeds 0 and 1,
    and one fine-tuned on five classes of CIFAR-10 at 32 pixels, seeds 0 to 3, every fifth test image.
    """
    arrays = np.load(Path(__file__).with_name("calibration.npz"))
    arms = defaultdict(list)
    for name in sorted({name.rsplit(".", 1)[0] for name in arrays}):
        parts = ("logits", "labels", "val_logits", "val_labels")
        arms[name.rsplit(".", 1)[0]].append(tuple(arrays[f"{name}.{part}"] for part in parts))
    return dict(arms)


def test_no_arm_is_worse_calibrated_than_it_was_on_stored_predictions(stored):
    assert len(stored) == 7
    for arm, runs in stored.items():
        results = [calibration.summary(*run) for run in runs]
        for score in ("nll", "brier", "ece"):
            before, after = np.mean([(result[score], result["calibrated"][score]) for result in results], axis=0)
            assert after <= before, (arm, score)


def test_a_class_that_an_arm_cannot_predict_is_left_out_with_its_images():
    """Without the class in the middle, these are the logits of the other two."""
    logits = np.array([[2, -np.inf, 0], [0, -np.inf, 1], [1, -np.inf, 3], [5, -np.inf, 0]], np.float32)
    labels = np.array([0, 1, 2, 2])
    others, renamed = logits[[0, 2, 3]][:, [0, 2]], np.array([0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = calibration.summary(logits, labels, logits, labels)
    assert result == calibration.summary(others, renamed, others, renamed)
    assert all(np.isfinite([result["nll"], result["brier"], result["ece"], *result["calibrated"].values()]))


def test_where_one_class_alone_can_be_predicted_it_is_so_with_certainty():
    logits, labels = np.array([[1, -np.inf], [2, -np.inf]]), np.array([0, 1])
    result = calibration.summary(logits, labels, logits, labels)
    assert [result[score] for score in ("nll", "brier", "ece")] == [0, 0, 0]


def test_a_summary_can_be_written_as_json():
    logits, labels = planted(2, n=100)
    result = calibration.summary(logits.astype(np.float32), labels, logits.astype(np.float32), labels)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result) == ["nll", "brier", "ece", "calibrated"]
    assert list(result["calibrated"]) == ["temperature", "nll", "brier", "ece"]
