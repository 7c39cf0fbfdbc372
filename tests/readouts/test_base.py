"""Read-outs: against numbers worked by hand, textbook definitions and reference libraries."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from src.core import seeds
from src.readouts import fit as readouts_fit
from src.readouts import linear, nearest, zero_shot
from src.readouts.base import Features, Readout
from src.readouts.config import READOUTS
from src.readouts.linear import strengths


def blobs(classes: int, *, spread: float, width: int = 5, each: int = 20, seed: int = 0) -> Features:
    """Clouds around one random centre for each class, three parts for training to one for validation."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.permutation(np.repeat(np.arange(classes), count))
        return (centres[labels] + spread * rng.normal(size=(len(labels), width))).astype(np.float32), labels

    return Features(*draw(3 * each), *draw(each))


def accuracy(result: Readout, features: Features) -> float:
    return float((result.logits(features.val).argmax(1) == features.val_labels).mean())


def head(features: Features, seed: int = 0) -> Readout:
    return readouts_fit.random_head(features, rng=seeds.generator(seed, "random_head"))


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


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_clouds_that_are_apart_are_told_apart(classes):
    features = blobs(classes, spread=0.05)
    result = linear.linear(features, 5)
    logits = result.logits(features.val)
    assert logits.shape == (len(features.val), classes)
    assert logits.dtype == np.float32
    assert accuracy(result, features) == 1


def objective(x: np.ndarray, labels: np.ndarray, classes: int, c: float):
    """scikit-learn's: the sum of cross-entropies plus |W|^2 / 2C, the bias free."""

    def value(flat: np.ndarray) -> float:
        weights = flat.reshape(x.shape[1] + 1, classes)
        fit = log_softmax(x @ weights[:-1] + weights[-1], axis=1)[np.arange(len(labels)), labels]
        return -fit.sum() + (weights[:-1] ** 2).sum() / (2 * c)

    return value


def test_probabilities_are_those_of_multinomial_regression_on_standardised_features():
    features, classes = blobs(3, spread=1.5, width=3), 3
    result = linear.linear(features, 5)
    mean, std = features.train.mean(0), features.train.std(0)
    x = (features.train - mean) / std
    start = np.zeros((3 + 1) * classes)
    best = minimize(objective(x, features.train_labels, classes, result.chosen["c"]), start, tol=1e-10).x.reshape(4, -1)
    expected = softmax((features.val - mean) / std @ best[:-1] + best[-1], axis=1)
    np.testing.assert_allclose(softmax(result.logits(features.val), axis=1), expected, atol=0.005)


def test_two_classes_have_two_logits_whose_difference_is_the_score():
    features = blobs(2, spread=1.5)
    result = linear.linear(features, 5)
    scaler = StandardScaler().fit(features.train)
    model = LogisticRegression(C=result.chosen["c"], max_iter=1000)
    model.fit(scaler.transform(features.train), features.train_labels)
    logits = result.logits(features.val)
    expected = model.decision_function(scaler.transform(features.val))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=0.01)
    assert not logits[:, 0].any()


def test_five_strengths_are_a_decade_apart_around_a_hundredth_and_45_reach_four_decades():
    assert strengths(5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert strengths(1) == [0.01]
    assert np.log10(strengths(45)) == pytest.approx(np.linspace(-6, 2, 45))


@pytest.mark.parametrize("configurations", [2, 5, 9])
def test_so_many_strengths_are_tried_and_the_most_accurate_is_chosen(configurations):
    features = blobs(4, spread=2.5, width=20, each=15)
    result = linear.linear(features, configurations).chosen
    assert result["tried"] == strengths(configurations)
    scaler = StandardScaler().fit(features.train)
    x, val = scaler.transform(features.train), scaler.transform(features.val)
    models = [LogisticRegression(C=c, max_iter=1000).fit(x, features.train_labels) for c in result["tried"]]
    assert result["tried_accuracies"] == pytest.approx([model.score(val, features.val_labels) for model in models])
    best = int(np.argmax(result["tried_accuracies"]))
    assert (result["c"], result["configurations"]) == (result["tried"][best], configurations)


def chosen_at_edge(monkeypatch, accuracies: list[float]) -> bool:
    monkeypatch.setattr(linear, "accuracy", lambda *_: accuracies.pop(0))
    return linear.linear(blobs(3, spread=1), len(accuracies)).chosen["at_edge"]


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [([0.5, 0.6, 0.7], True), ([0.7, 0.6, 0.5], True), ([0.5, 0.7, 0.6], False), ([0.7, 0.7, 0.5], False)],
)
def test_the_edge_is_told_unless_a_value_between_is_as_good(monkeypatch, accuracies, expected):
    assert chosen_at_edge(monkeypatch, accuracies) is expected


def test_one_strength_is_fitted_without_a_look_at_validation_images():
    features = blobs(3, spread=1.5)
    blind = Features(features.train, features.train_labels, features.val[:0], features.val_labels[:0])
    result = linear.linear(blind, 1)
    assert (result.chosen, result.images) == ({"c": 0.01, "configurations": 1}, len(features.train))
    assert accuracy(result, features) > 0.6


def test_a_fit_costs_what_its_iterations_multiply():
    """By hand, for two classes, whose single score has one row of weights: 60 images of 5 features, 40 to validate."""
    features = blobs(2, spread=1.5, each=10)
    mean, std = features.train.mean(0), features.train.std(0)
    x = ((features.train - mean) / std).astype(np.float32)
    model = LogisticRegression(C=0.01, max_iter=1000, tol=1e-4).fit(x, features.train_labels)
    expected = 2 * 60 * 5 * (model.n_iter_[0] + 1)
    assert linear.linear(features, 1).fit_macs == expected
    assert linear.linear(features, 3).fit_macs > 2 * expected


def test_of_equally_good_strengths_the_strongest_regularisation_is_taken():
    features = blobs(2, spread=0.01)
    assert linear.linear(features, 5).chosen["c"] == strengths(5)[0]


def test_units_of_the_features_do_not_matter():
    features = blobs(3, spread=1.5)
    moved = Features(features.train * 64 + 16, features.train_labels, features.val * 64 + 16, features.val_labels)
    np.testing.assert_allclose(
        linear.linear(moved, 5).logits(moved.val), linear.linear(features, 5).logits(features.val), atol=0.01
    )


def test_a_feature_that_never_varies_does_no_harm():
    features = blobs(3, spread=0.1)
    constant = [np.pad(part, ((0, 0), (0, 1)), constant_values=3) for part in (features.train, features.val)]
    padded = Features(constant[0], features.train_labels, constant[1], features.val_labels)
    assert np.isfinite(linear.linear(padded, 5).logits(padded.val)).all()
    assert accuracy(linear.linear(padded, 5), padded) == 1


def test_validation_labels_are_not_fitted():
    """Where no C is better than another, they decide nothing at all."""
    features = blobs(2, spread=0.01)
    blind = Features(features.train, features.train_labels, features.val[:1], features.val_labels[:1])
    np.testing.assert_array_equal(
        linear.linear(blind, 5).logits(features.val), linear.linear(features, 5).logits(features.val)
    )


def test_a_rare_class_is_not_given_up_for_the_common_one():
    """Under strong regularisation the common class is always predicted, and every such strength is equally accurate."""
    rng = np.random.default_rng(0)
    labels, val_labels = np.repeat([0, 1], [100, 10]), np.repeat([0, 1], [50, 5])
    centre = rng.normal(size=200) * 0.5
    draw = lambda y: (rng.normal(size=(len(y), 200)) + np.outer(y, centre)).astype(np.float32)  # noqa: E731
    features = Features(draw(labels), labels, draw(val_labels), val_labels)
    result = linear.linear(features, 9).logits(features.val).argmax(1)
    assert (result[val_labels == 1] == 1).mean() >= 0.8


def exhaustive(features: Features) -> tuple[float, LogisticRegression, StandardScaler]:
    """The slow way: 45 strengths fitted from nothing to convergence; validation accuracy, the best."""
    scaler = StandardScaler().fit(features.train)
    x, val = scaler.transform(features.train), scaler.transform(features.val)
    models = [LogisticRegression(C=c, max_iter=2000).fit(x, features.train_labels) for c in strengths(45)]
    scores = [model.score(val, features.val_labels) for model in models]
    return max(scores), models[int(np.argmax(scores))], scaler


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the slow way's, at the weakest strengths
@pytest.mark.parametrize("load", [load_digits, load_wine, load_breast_cancer])
def test_fits_that_stop_early_choose_as_well_as_fits_to_convergence(load):
    """On a third that neither saw. The margin is 1.5 images of a hundred: two strengths can tie or nearly so."""
    x, labels = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:900]
    x, labels = x[order].astype(np.float32), labels[order]
    train, val, test = np.split(np.arange(len(x)), [len(x) // 2, 2 * len(x) // 3])
    features = Features(x[train], labels[train], x[val], labels[val])
    result = linear.linear(features, 45)
    best, model, scaler = exhaustive(features)
    assert accuracy(result, features) >= best - 0.015
    ours = (result.logits(x[test]).argmax(1) == labels[test]).mean()
    assert ours >= model.score(scaler.transform(x[test]), labels[test]) - 0.015


def test_the_chosen_strength_is_refitted_to_the_optimum():
    """The gradient of the objective vanishes there, whatever the search left undone."""
    features = blobs(4, spread=2.5, width=20, each=50)
    result = linear.linear(features, 5)
    x = StandardScaler().fit_transform(features.train)
    # The read-out is affine: its bias and weights are read off the mean and one step of each standardised feature.
    mean, std = features.train.mean(0), features.train.std(0)
    bias = result.logits(mean[None])
    weights = result.logits((mean + np.diag(std)).astype(np.float32)) - bias
    residual = softmax(x @ weights + bias, axis=1) - np.eye(4)[features.train_labels]
    gradient = x.T @ residual + weights / result.chosen["c"]
    assert np.abs(gradient).max() / len(x) < 2e-4  # a mean over images, as the tolerance is
    assert np.abs(residual.mean(0)).max() < 2e-4


def test_a_centroid_is_the_class_mean_of_centred_normalised_features():
    """The mean is (0, 0), so (3, 0) becomes (1, 0) and so on; class means (1, 0) and (-1, 0); the test image (0, 1)."""
    train = np.array([[3, 0], [1, 0], [-2, 0], [-2, 0]], np.float32)
    features = Features(train, np.array([0, 0, 1, 1]), train[:1], np.array([0]))
    x = np.array([[0, 7], [5, 0], [3, 4]], np.float32)
    expected = [[-2, -2], [0, -4], [-(0.4**2 + 0.8**2), -(1.6**2 + 0.8**2)]]
    np.testing.assert_allclose(nearest.centroid(features).logits(x), expected, atol=1e-6)


def test_the_nearest_centroid_is_the_one_that_scikit_learn_finds():
    features = blobs(5, spread=1.5, width=12)

    def unit(x: np.ndarray) -> np.ndarray:
        centred = x - features.train.mean(0)
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    model = NearestCentroid().fit(unit(features.train), features.train_labels)
    result = nearest.centroid(features).logits(features.val)
    np.testing.assert_array_equal(result.argmax(1), model.predict(unit(features.val)))
    assert (result.dtype, result.shape) == (np.float32, (len(features.val), 5))


def test_centroids_need_no_validation_images():
    features = blobs(3, spread=1)
    blind = Features(features.train, features.train_labels, features.val[:0], features.val_labels[:0])
    assert (nearest.centroid(blind).images, nearest.centroid(blind).chosen) == (len(features.train), {})


def brute_force(features: Features, x: np.ndarray, k: int) -> np.ndarray:
    """Wu et al.'s votes, one image and one neighbour at a time."""
    votes = np.zeros((len(x), features.train_labels.max() + 1))
    for row, image in enumerate(x.astype(np.float64)):
        length = np.linalg.norm(features.train, axis=1) * np.linalg.norm(image)
        similarity = features.train @ image / length
        for neighbour in np.argsort(-similarity)[:k]:
            votes[row, features.train_labels[neighbour]] += np.exp(similarity[neighbour] / 0.07)
    return votes


def test_votes_are_those_of_the_nearest_neighbours_one_by_one():
    features = blobs(3, spread=1.2, each=40)
    result = nearest.knn(features, 5)
    votes = brute_force(features, features.val, result.chosen["k"])
    logits = result.logits(features.val)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits[votes > 0], np.log(votes[votes > 0]), rtol=1e-4, atol=1e-3)


def test_a_vote_weighs_exp_of_the_cosine_by_the_temperature():
    """Neighbours at 0, 60 and 180 degrees, of classes 0, 1, 1: cosines 1, 1/2 and -1, whatever their lengths."""
    train = np.array([[2, 0], [0.5, 0.75**0.5], [-9, 0]], np.float32)
    features = Features(train, np.array([0, 1, 1]), train[:1], np.array([0]))
    result = nearest.knn(features, 5)
    assert result.chosen["k"] == 3  # all there are
    one = np.log(np.exp(0.5 / 0.07) + np.exp(-1 / 0.07))
    np.testing.assert_allclose(result.logits(np.array([[7, 0]], np.float32)), [[1 / 0.07, one]], rtol=1e-5)


def test_a_class_without_votes_has_those_of_the_least_similar_image():
    features = blobs(2, spread=0.01, each=40)
    result = nearest.knn(features, 5)
    logits = result.logits(features.val)
    np.testing.assert_allclose(logits[np.arange(len(logits)), 1 - features.val_labels], -1 / 0.07, rtol=1e-5)


def test_k_is_chosen_by_validation_accuracy_and_ties_go_to_the_smallest():
    for seed in range(4):
        features = blobs(4, spread=2, each=60, seed=seed)
        right = {
            k: (brute_force(features, features.val, k).argmax(1) == features.val_labels).mean()
            for k in (10, 20, 100, 200)
        }
        best = min(k for k in right if right[k] == max(right.values()))
        result = nearest.knn(features, 5).chosen
        assert result == {
            **{"k": best, "configurations": 4, "tried": [10, 20, 100, 200]},
            "tried_accuracies": pytest.approx([right[k] for k in sorted(right)]),
        }


@pytest.mark.parametrize(("configurations", "tried"), [(2, [10, 20]), (3, [10, 20, 100]), (4, [10, 20, 100, 200])])
def test_no_more_numbers_of_neighbours_are_tried_than_configurations_are_allowed(configurations, tried):
    features = blobs(4, spread=2, each=60)
    assert nearest.knn(features, configurations).chosen["tried"] == tried


def test_one_configuration_is_the_20_neighbours_that_dino_recommends():
    features = blobs(4, spread=2, each=60)
    blind = Features(features.train, features.train_labels, features.val[:0], features.val_labels[:0])
    result = nearest.knn(blind, 1)
    assert (result.chosen, result.images, result.fit_macs) == ({"k": 20, "configurations": 1}, 720, 0)


def test_neighbours_cost_a_cosine_of_every_pair_and_centroids_a_sum():
    features = blobs(3, spread=1, each=20)  # 180 images of 5 features, and 60 to validate
    assert nearest.knn(features, 5).fit_macs == 180 * 60 * 5
    assert nearest.centroid(features).fit_macs == 180 * 5


@pytest.mark.parametrize("count", [9, 10, 99, 100, 199])
def test_no_more_neighbours_are_tried_than_there_are_images(count):
    features = blobs(3, spread=2, each=100)
    few = Features(features.train[:count], features.train_labels[:count], features.val, features.val_labels)
    assert nearest.knn(few, 5).chosen["k"] in [k for k in (9, 10, 20, 100, 200) if k <= count]
    assert np.isfinite(nearest.knn(few, 5).logits(features.val)).all()


CATEGORIES = [[281, 282], [151, 152, 153], [30, 31, 32]]  # of cats, dogs and frogs
HEAD = zero_shot.PretrainedHead(
    np.random.default_rng(0).normal(size=(1000, 5)).astype(np.float32), np.zeros(1000, np.float32)
)


def fit(name: str, features: Features) -> Readout:
    categories = CATEGORIES[: features.classes]
    return readouts_fit.fit(
        name, features, rng=np.random.default_rng(0), configurations=5, head=HEAD, categories=categories
    )


def test_the_name_in_the_settings_chooses_the_readout():
    features = blobs(3, spread=1)
    expected = {
        "random_head": readouts_fit.random_head(features, rng=np.random.default_rng(0)).logits(features.val),
        "zero_shot": zero_shot.logits(features.val, HEAD, CATEGORIES),
        "centroid": nearest.centroid(features).logits(features.val),
        "knn": nearest.knn(features, 5).logits(features.val),
        "linear": linear.linear(features, 5).logits(features.val),
    }
    for name, logits in expected.items():
        np.testing.assert_array_equal(fit(name, features).logits(features.val), logits)


def test_images_counts_those_whose_features_were_needed():
    features = blobs(3, spread=1)
    both = len(features.train) + len(features.val)
    counts = {"random_head": 0, "zero_shot": 0, "centroid": len(features.train), "knn": both, "linear": both}
    assert {name: fit(name, features).images for name in counts} == counts


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("classes", [2, 3])
def test_one_training_image_per_class_is_enough(name, classes):
    features = blobs(classes, spread=0.01, each=1)
    few = Features(np.eye(classes, 5, dtype=np.float32), np.arange(classes), features.val, features.val_labels)
    logits = fit(name, few).logits(features.val)
    assert logits.shape == (classes, classes)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", ["centroid", "knn", "linear"])
def test_one_training_image_per_class_tells_apart_what_is_apart(name):
    rng = np.random.default_rng(0)
    train, labels = np.eye(3, 5, dtype=np.float32), np.arange(3)
    val = (train + 0.05 * rng.normal(size=train.shape)).astype(np.float32)
    few = Features(train, labels, val, labels)
    assert accuracy(fit(name, few), few) == 1


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("value", [0, 3])
def test_features_that_never_vary_do_no_harm(name, value):
    features = blobs(3, spread=1)
    same = [np.full_like(part, value) for part in (features.train, features.val)]
    flat = Features(same[0], features.train_labels, same[1], features.val_labels)
    logits = fit(name, flat).logits(flat.val)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits, np.broadcast_to(logits[0], logits.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", READOUTS)
def test_an_image_whose_features_are_all_zero_does_no_harm(name):
    features = blobs(3, spread=0.5)
    train = features.train.copy()
    train[0] = 0
    result = fit(name, Features(train, features.train_labels, features.val, features.val_labels))
    assert np.isfinite(result.logits(np.zeros((1, 5), np.float32))).all()


@pytest.mark.parametrize("name", READOUTS)
def test_a_readout_changes_no_features(name):
    """They may be mapped from a file and shared with the next read-out."""
    features = blobs(3, spread=1)
    before = [part.copy() for part in (features.train, features.val)]
    for part in (features.train, features.val):
        part.flags.writeable = False
    fit(name, features).logits(features.val)
    np.testing.assert_array_equal(features.train, before[0])
    np.testing.assert_array_equal(features.val, before[1])
