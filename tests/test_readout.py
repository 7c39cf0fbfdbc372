"""Read-outs: a head that nobody trained, and logistic regression against the textbook's own definition."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from src import readout, seeds
from src.readout import C_GRID, Features


def blobs(classes: int, *, spread: float, width: int = 5, each: int = 20, seed: int = 0) -> Features:
    """Clouds around one random centre for each class, three parts for training to one for validation."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.permutation(np.repeat(np.arange(classes), count))
        return (centres[labels] + spread * rng.normal(size=(len(labels), width))).astype(np.float32), labels

    return Features(*draw(3 * each), *draw(each))


def accuracy(found: readout.Readout, features: Features) -> float:
    return float((found.logits(features.val).argmax(1) == features.val_labels).mean())


def head(features: Features, seed: int = 0) -> readout.Readout:
    return readout.random_head(features, rng=seeds.generator(seed, "random_head"))


# The report's random head


def test_a_random_head_is_one_linear_layer_as_pytorch_draws_it():
    features = blobs(3, spread=1, width=400)
    zeros = head(features).logits(np.zeros((1, 400), np.float32))  # the bias
    weight = head(features).logits(np.eye(400, dtype=np.float32)) - zeros
    assert weight.shape == (400, 3)
    assert 0.99 / 20 < np.abs(weight).max() <= 1.000001 / 20  # the bound is 1 / sqrt(400)
    assert weight.std() == pytest.approx(1 / 20 / 3**0.5, rel=0.05)
    assert (np.abs(zeros) <= 1 / 20).all()
    x = features.val
    np.testing.assert_allclose(head(features).logits(x), x @ weight + zeros, atol=1e-4)


def test_a_random_head_learns_nothing():
    easy = blobs(4, spread=0.01)
    shuffled = Features(easy.train[::-1], easy.train_labels, easy.val, easy.val_labels)
    np.testing.assert_array_equal(head(easy).logits(easy.val), head(shuffled).logits(easy.val))
    assert head(easy).chosen == {}


def test_random_heads_are_right_as_often_as_chance():
    """Means of 2 and 4 classes over 400 heads; a head's accuracy on so few clouds varies by 0.2 or so."""
    for classes in (2, 4):
        features = blobs(classes, spread=0.1)
        assert np.mean([accuracy(head(features, seed), features) for seed in range(400)]) == pytest.approx(
            1 / classes, abs=0.05
        )


def test_a_random_head_is_its_seeds():
    features = blobs(3, spread=1)
    np.testing.assert_array_equal(head(features, 1).logits(features.val), head(features, 1).logits(features.val))
    assert (head(features, 1).logits(features.val) != head(features, 2).logits(features.val)).all()


# Logistic regression


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_clouds_that_are_apart_are_told_apart(classes):
    features = blobs(classes, spread=0.05)
    found = readout.linear(features)
    logits = found.logits(features.val)
    assert logits.shape == (len(features.val), classes)
    assert logits.dtype == np.float32
    assert accuracy(found, features) == 1


def objective(x: np.ndarray, labels: np.ndarray, classes: int, c: float):
    """scikit-learn's: the sum of cross-entropies plus |W|^2 / 2C, the bias free."""

    def value(flat: np.ndarray) -> float:
        weights = flat.reshape(x.shape[1] + 1, classes)
        fit = log_softmax(x @ weights[:-1] + weights[-1], axis=1)[np.arange(len(labels)), labels]
        return -fit.sum() + (weights[:-1] ** 2).sum() / (2 * c)

    return value


def test_probabilities_are_those_of_regularised_multinomial_regression_on_standardised_features():
    features, classes = blobs(3, spread=1.5, width=3), 3
    found = readout.linear(features)
    mean, std = features.train.mean(0), features.train.std(0)
    x = (features.train - mean) / std
    start = np.zeros((3 + 1) * classes)
    best = minimize(objective(x, features.train_labels, classes, found.chosen["c"]), start, tol=1e-10).x.reshape(4, -1)
    expected = softmax((features.val - mean) / std @ best[:-1] + best[-1], axis=1)
    np.testing.assert_allclose(softmax(found.logits(features.val), axis=1), expected, atol=0.005)


def test_two_classes_have_two_logits_whose_difference_is_the_score():
    features = blobs(2, spread=1.5)
    found = readout.linear(features)
    scaler = StandardScaler().fit(features.train)
    model = LogisticRegression(C=found.chosen["c"], max_iter=1000)
    model.fit(scaler.transform(features.train), features.train_labels)
    logits = found.logits(features.val)
    expected = model.decision_function(scaler.transform(features.val))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=0.01)
    assert not logits[:, 0].any()


def test_the_strength_is_on_the_grid_of_45_values_from_a_millionth_to_a_hundred_thousand():
    assert (len(C_GRID), C_GRID[0], C_GRID[-1]) == (45, pytest.approx(1e-6), pytest.approx(1e5))
    assert readout.linear(blobs(3, spread=2)).chosen["c"] in C_GRID


@pytest.mark.parametrize("seed", [0, 5])  # of which the best strength lies above and below the best coarse one
def test_the_search_goes_on_around_the_best_of_every_fourth_strength(seed):
    features = blobs(4, spread=2.5, width=20, each=15, seed=seed)
    scaler = StandardScaler().fit(features.train)
    coarse = []
    for c in C_GRID[::4]:
        model = LogisticRegression(C=c, max_iter=200).fit(scaler.transform(features.train), features.train_labels)
        coarse.append(model.score(scaler.transform(features.val), features.val_labels))
    assert accuracy(readout.linear(features), features) > max(coarse)


def test_of_equally_good_strengths_the_strongest_regularisation_is_taken():
    features = blobs(2, spread=0.01)
    assert readout.linear(features).chosen["c"] == C_GRID[0]


def test_units_of_the_features_do_not_matter():
    features = blobs(3, spread=1.5)
    moved = Features(features.train * 64 + 16, features.train_labels, features.val * 64 + 16, features.val_labels)
    np.testing.assert_allclose(
        readout.linear(moved).logits(moved.val), readout.linear(features).logits(features.val), atol=0.01
    )


def test_a_feature_that_never_varies_does_no_harm():
    features = blobs(3, spread=0.1)
    constant = [np.pad(part, ((0, 0), (0, 1)), constant_values=3) for part in (features.train, features.val)]
    padded = Features(constant[0], features.train_labels, constant[1], features.val_labels)
    assert np.isfinite(readout.linear(padded).logits(padded.val)).all()
    assert accuracy(readout.linear(padded), padded) == 1


def test_validation_labels_are_not_fitted():
    """Where no C is better than another, they decide nothing at all."""
    features = blobs(2, spread=0.01)
    blind = Features(features.train, features.train_labels, features.val[:1], features.val_labels[:1])
    np.testing.assert_array_equal(
        readout.linear(blind).logits(features.val), readout.linear(features).logits(features.val)
    )


def test_the_name_in_the_settings_chooses_the_readout():
    features = blobs(2, spread=0.1)
    rng = np.random.default_rng
    np.testing.assert_array_equal(
        readout.fit("random_head", features, rng=rng(0)).logits(features.val),
        readout.random_head(features, rng=rng(0)).logits(features.val),
    )
    assert readout.fit("linear", features, rng=rng(0)).chosen == readout.linear(features).chosen


def test_a_rare_class_is_not_given_up_for_the_common_one():
    """Under strong regularisation the common class is always predicted, and every such strength is equally accurate."""
    rng = np.random.default_rng(0)
    labels, val_labels = np.repeat([0, 1], [100, 10]), np.repeat([0, 1], [50, 5])
    centre = rng.normal(size=200) * 0.5
    draw = lambda y: (rng.normal(size=(len(y), 200)) + np.outer(y, centre)).astype(np.float32)  # noqa: E731
    features = Features(draw(labels), labels, draw(val_labels), val_labels)
    found = readout.linear(features).logits(features.val).argmax(1)
    assert (found[val_labels == 1] == 1).mean() >= 0.8
