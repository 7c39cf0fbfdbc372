"""Subsets: labels 0..K-1, and a split that is stratified, disjoint, and the same whatever classes are added."""

import itertools

import numpy as np
import pytest

from src.core import seeds
from src.core.errors import UserError
from src.prepare import subset
from src.prepare.config import Prepare

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 50))  # ten classes of fifty


def split(labels: np.ndarray, *, seed: int = 0, **settings):
    return subset.split(labels, Prepare(**settings), seeds.generator(seed, "split"))


def test_chosen_classes_are_relabelled_from_zero_in_the_order_chosen():
    index, labels = subset.relabel(np.array([0, 1, 2, 3, 3, 1]), [3, 1])
    assert index.tolist() == [1, 3, 4, 5]
    assert labels.tolist() == [1, 0, 0, 1]
    assert labels.dtype == np.int64


def test_every_class_is_divided_in_the_same_proportion():
    train, val = split(LABELS, val_fraction=0.1)
    assert np.bincount(LABELS[train]).tolist() == [45] * 10
    assert np.bincount(LABELS[val]).tolist() == [5] * 10


def test_every_image_is_in_one_half_and_once():
    train, val = split(LABELS)
    assert sorted([*train, *val]) == list(range(500))


def test_positions_are_sorted_so_that_reading_a_file_of_images_runs_forwards():
    for half in split(LABELS):
        assert (np.diff(half) > 0).all()


@pytest.mark.parametrize(
    ("images", "val_fraction", "held_out"), [(2, 0.1, 1), (2, 0.5, 1), (3, 0.5, 2), (14, 0.1, 1), (16, 0.1, 2)]
)
def test_a_class_is_held_out_in_its_share_rounded_and_at_least_one_image(images, val_fraction, held_out):
    train, val = split(np.zeros(images, np.int64), val_fraction=val_fraction)
    assert (len(train), len(val)) == (images - held_out, held_out)


def test_a_cap_keeps_so_many_images_of_each_class_before_the_division():
    train, val = split(LABELS, per_class=20, val_fraction=0.25)
    assert np.bincount(LABELS[train]).tolist() == [15] * 10
    assert np.bincount(LABELS[val]).tolist() == [5] * 10
    assert set(train).isdisjoint(val)


def test_a_cap_above_what_there_is_changes_nothing():
    for capped, free in zip(split(LABELS, per_class=1000), split(LABELS), strict=True):
        np.testing.assert_array_equal(capped, free)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    first, second, other = split(LABELS), split(LABELS), split(LABELS, seed=1)
    np.testing.assert_array_equal(first[1], second[1])
    assert set(first[1]) != set(other[1])


@pytest.mark.parametrize("count", [2, 5])
def test_a_longer_series_of_classes_leaves_the_split_of_the_first_ones_as_it_was(count):
    """So that experiments of 2, 5 and 10 classes train on the same images of the classes that they share."""
    few_index, few = subset.relabel(LABELS, range(count))
    many_index, many = subset.relabel(LABELS, range(10))
    for half_of_few, half_of_many in zip(split(few), split(many), strict=True):
        in_both = many_index[half_of_many][many[half_of_many] < count]
        np.testing.assert_array_equal(few_index[half_of_few], in_both)


def test_a_class_with_too_few_images_is_refused_by_name_and_number():
    subset.require(np.array([0, 0, 1, 1]), ["cat", "dog"], 2, "training")
    with pytest.raises(UserError, match="'dog' has 1 training images; at least 2 are needed"):
        subset.require(np.array([0, 0, 1]), ["cat", "dog"], 2, "training")


def test_a_class_without_any_image_is_refused_too():
    with pytest.raises(UserError, match="'dog' has 0 test images"):
        subset.require(np.array([0, 0]), ["cat", "dog"], 1, "test")


@pytest.mark.parametrize(
    ("ratio", "counts"),
    [
        (100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
        (1, [5000] * 10),
    ],
)
def test_a_long_tail_has_the_published_numbers_of_cifar_10_lt(ratio, counts):
    """Ratio 100: 12,406 images in all, the set of Cao et al. 2019; 10: 20,431."""
    result = subset.class_sizes("long_tailed", ratio, 5000, 10)
    assert result == counts
    assert sum(result) == {100: 12_406, 10: 20_431, 1: 50_000}[ratio]


def test_a_long_tail_of_cifar_100_has_the_published_number():
    assert sum(subset.class_sizes("long_tailed", 100, 500, 100)) == 10_847


def test_no_count_falls_below_its_number_by_rounding():
    for ratio in range(1, 200):
        assert subset.class_sizes("long_tailed", ratio, 5 * ratio, 7)[-1] == 5
        assert subset.class_sizes("step", ratio, 5 * ratio, 7)[-1] == 5


@pytest.mark.parametrize(("classes", "minor"), [(10, 5), (5, 2), (2, 1), (3, 1)])
def test_a_step_makes_the_last_half_of_the_classes_minor(classes, minor):
    assert subset.class_sizes("step", 4, 100, classes) == [100] * (classes - minor) + [25] * minor


def test_training_images_are_thinned_out_and_validation_images_stay_the_same():
    (plain, val), (train, same) = split(LABELS), split(LABELS, imbalance="long_tailed", imbalance_ratio=9)
    assert np.bincount(LABELS[train]).tolist() == subset.class_sizes("long_tailed", 9, 45, 10)
    np.testing.assert_array_equal(val, same)
    assert set(train) < set(plain)
    assert (np.diff(train) > 0).all()


def test_training_images_of_a_larger_ratio_are_among_those_of_a_smaller_one():
    few, more = (split(LABELS, imbalance="step", imbalance_ratio=ratio)[0] for ratio in (9, 3))
    assert set(few) < set(more)


@pytest.mark.parametrize(
    "how", [{"imbalance": "none", "imbalance_ratio": 9}, {"imbalance": "step", "imbalance_ratio": 1}]
)
def test_without_an_imbalance_the_ratio_counts_for_nothing(how):
    for ours, theirs in zip(split(LABELS, **how), split(LABELS), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_class_that_is_smaller_than_its_share_keeps_all_of_it():
    labels = np.repeat([0, 1, 2], [10, 200, 100])
    train, _ = split(labels, imbalance="long_tailed", imbalance_ratio=4)
    assert np.bincount(labels[train]).tolist() == [9, 90, 45]  # of the largest class's 180


def test_a_ratio_that_leaves_nothing_is_refused_with_the_largest_that_does():
    message = r"prepare\.imbalance_ratio = 46: no training image .* at most 45, the training images of the largest"
    with pytest.raises(UserError, match=message):
        split(LABELS, imbalance="step", imbalance_ratio=46)
    train, _ = split(LABELS, imbalance="step", imbalance_ratio=45)
    assert np.bincount(LABELS[train]).tolist() == [45] * 5 + [1] * 5


def test_a_subset_has_thinned_training_images_and_all_others():
    labels = np.repeat(np.arange(4), 20)
    names = ["a", "b", "c"]
    config = Prepare(val_fraction=0.1, imbalance="step", imbalance_ratio=6)
    arrays = subset.choose_images(labels, labels, [3, 1, 0], names, config, seeds.generator(0, "split"))
    counts = {part: np.bincount(arrays[f"{part}_labels"]).tolist() for part in ("train", "val", "test")}
    assert counts == {"train": [18, 18, 3], "val": [2, 2, 2], "test": [20, 20, 20]}


@pytest.mark.parametrize(("shots", "validated"), [(1, 1), (5, 5), (7, 5), (45, 5)])
def test_shots_are_so_many_training_images_of_each_class_and_at_most_as_many_to_validate(shots, validated):
    train, val = split(LABELS, val_fraction=0.1, shots=shots)
    assert np.bincount(LABELS[train]).tolist() == [shots] * 10
    assert np.bincount(LABELS[val]).tolist() == [validated] * 10
    assert all((np.diff(part) > 0).all() for part in (train, val))


def test_more_shots_are_more_of_the_same_images_and_all_are_those_without_a_number():
    parts = [split(LABELS, val_fraction=0.1, shots=shots) for shots in (2, 4, 45, None)]
    for few, more in itertools.pairwise(parts):
        assert all(set(part) <= set(others) for part, others in zip(few, more, strict=True))
    assert [part.tolist() for part in parts[2]] == [part.tolist() for part in parts[3]]


def test_shots_are_drawn_by_their_seed():
    first, again, other = (split(LABELS, shots=5, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_more_shots_than_the_smallest_class_has_are_refused_with_its_count():
    labels = np.repeat([0, 1], [30, 10])
    said = "prepare.shots = 10: a class has 9 training images; allowed here is at most 9"
    with pytest.raises(UserError, match=f"^{said}$"):
        split(labels, val_fraction=0.1, shots=10)
    assert np.bincount(labels[split(labels, val_fraction=0.1, shots=9)[0]]).tolist() == [9, 9]


def test_shots_are_counted_before_classes_are_thinned_out():
    train, val = split(LABELS, shots=8, imbalance="step", imbalance_ratio=4)
    assert np.bincount(LABELS[train]).tolist() == [8] * 5 + [2] * 5
    assert np.bincount(LABELS[val]).tolist() == [5] * 10


@pytest.mark.parametrize("images", [2, 3, 50])
def test_without_a_share_to_validate_every_image_is_trained_on(images):
    labels = np.repeat([0, 1], images)
    train, val = split(labels, val_fraction=0.0)
    assert train.tolist() == list(range(2 * images))
    assert (val.tolist(), val.dtype) == ([], train.dtype)


def test_a_subset_without_validation_images_has_the_part_all_the_same():
    config = Prepare(val_fraction=0.0, per_class="all")
    arrays = subset.choose_images(LABELS, LABELS, [3, 1], ["a", "b"], config, seeds.generator(0, "split"))
    assert [len(arrays[f"{part}_index"]) for part in ("train", "val", "test")] == [100, 0, 100]
    assert [len(arrays[f"{part}_labels"]) for part in ("train", "val", "test")] == [100, 0, 100]
    assert set(LABELS[arrays["train_index"]]) == {1, 3}
