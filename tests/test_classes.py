"""Classes: their names in the order of the labels, and which of them are chosen."""

import numpy as np
import pytest

from src import classes
from src.errors import UserError

ANIMALS = ("bird", "cat", "deer", "dog", "frog")


def test_the_class_names_of_cifar_are_in_the_order_of_its_labels():
    """In both datasets that is the alphabet's: see batches.meta in the archives."""
    assert len(classes.CIFAR10_CLASSES) == 10
    assert len(set(classes.CIFAR100_CLASSES)) == len(classes.CIFAR100_CLASSES) == 100
    assert list(classes.CIFAR10_CLASSES) == sorted(classes.CIFAR10_CLASSES)
    assert list(classes.CIFAR100_CLASSES) == sorted(classes.CIFAR100_CLASSES)
    assert classes.CIFAR100_CLASSES[40:42] == ("lamp", "lawn_mower")


@pytest.mark.parametrize(
    ("dataset", "count", "first"), [("cifar10", 10, "airplane"), ("cifar100", 100, "apple"), ("digits", 10, "0")]
)
def test_class_names_are_known_without_fetching_anything(tmp_path, dataset, count, first):
    names = classes.class_names(dataset, tmp_path)
    assert len(names) == count
    assert names[0] == first
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_number_chooses_the_first_classes(count):
    assert classes.choose(count, ANIMALS) == list(range(count))


def test_names_choose_their_classes_in_the_order_given():
    assert classes.choose(["dog", "cat"], ANIMALS) == [3, 1]


def test_more_classes_than_there_are_is_refused_with_their_number():
    with pytest.raises(UserError, match=r"classes = 6: the dataset has 5 classes; allowed are 2 to 5, or names"):
        classes.choose(6, ANIMALS)


def test_an_unknown_name_is_refused_with_all_that_there_are():
    with pytest.raises(UserError, match="'horse' is not a class of the dataset; allowed are bird, cat, deer, dog"):
        classes.choose(["cat", "horse"], ANIMALS)


def test_a_class_that_is_named_twice_is_refused():
    with pytest.raises(UserError, match="a class is named twice; name each once"):
        classes.choose(["cat", "dog", "cat"], ANIMALS)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_a_seed_draws_a_random_series_of_which_a_smaller_subset_is_the_beginning(seed):
    series = classes.choose(5, ANIMALS, seed)
    assert sorted(series) == list(range(5))
    assert classes.choose(3, ANIMALS, seed) == series[:3] == classes.choose(3, ANIMALS, seed)


def test_every_class_is_drawn_as_often_as_another():
    drawn = np.bincount([label for seed in range(500) for label in classes.choose(2, ANIMALS, seed)], minlength=5)
    assert drawn == pytest.approx(200, abs=45)  # a binomial of 500 times 2/5 has a deviation of 11


def test_names_leave_nothing_to_draw():
    with pytest.raises(UserError, match=r"subset_seed = 3: classes names them already; set it to null"):
        classes.choose(["cat", "dog"], ANIMALS, 3)
