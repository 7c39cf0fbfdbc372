"""Classes: their names in the order of the labels, and how they are chosen."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.data import classes
from src.data.classes import CIFAR100_SUPERCLASSES as SUPERCLASSES

ANIMALS = ("bird", "cat", "deer", "dog", "frog")


def test_the_class_names_of_cifar_are_in_the_order_of_its_labels():
    """In both datasets that is the alphabet's: see batches.meta in the archives."""
    assert len(classes.CIFAR10_CLASSES) == 10
    assert len(set(classes.CIFAR100_CLASSES)) == len(classes.CIFAR100_CLASSES) == 100
    assert list(classes.CIFAR10_CLASSES) == sorted(classes.CIFAR10_CLASSES)
    assert list(classes.CIFAR100_CLASSES) == sorted(classes.CIFAR100_CLASSES)
    assert classes.CIFAR100_CLASSES[40:42] == ("lamp", "lawn_mower")


# The coarse label of each fine label in the order of the archive, as published code gives it
# (https://github.com/ryanchankh/cifar100coarse).
COARSE = (
    "4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 6 13 15 3 15 0 11 1 10 12 14 16 9 11 5 "
    "5 19 8 8 15 13 14 17 18 10 16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 16 12 9 13 15 13 "
    "16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13"
)


def test_the_superclasses_of_cifar100_are_the_published_ones():
    result = {name: number for number, names in enumerate(SUPERCLASSES.values()) for name in names}
    assert [result[name] for name in classes.CIFAR100_CLASSES] == [int(word) for word in COARSE.split()]
    assert list(SUPERCLASSES) == sorted(SUPERCLASSES)
    assert {len(names) for names in SUPERCLASSES.values()} == {5}


def test_no_superclass_is_called_as_a_class_is():
    assert not set(SUPERCLASSES) & set(classes.CIFAR100_CLASSES)


def chosen(*names: str) -> list[str]:
    labels = classes.choose(list(names), classes.CIFAR100_CLASSES, None, SUPERCLASSES)
    return [classes.CIFAR100_CLASSES[label] for label in labels]


def test_a_superclass_chooses_its_classes_in_its_place():
    assert chosen("people") == ["baby", "boy", "girl", "man", "woman"]
    assert chosen("rocket", "people", "apple") == ["rocket", "baby", "boy", "girl", "man", "woman", "apple"]
    assert (
        chosen("vehicles_2", "vehicles_1")
        == "lawn_mower rocket streetcar tank tractor bicycle bus motorcycle pickup_truck train".split()
    )


@pytest.mark.parametrize("names", [("people", "woman"), ("woman", "people"), ("people", "people")])
def test_a_class_that_its_superclass_names_too_is_refused(names):
    with pytest.raises(UserError, match=r"a class is named twice \(a superclass names all of its classes\); name each"):
        chosen(*names)


def test_one_class_alone_is_refused():
    with pytest.raises(UserError, match=r"classes = \['woman'\]: one class alone; allowed are two or more, or a super"):
        chosen("woman")


@pytest.mark.parametrize(
    ("name", "near"),
    [("vehicle_1", "vehicles_1 or vehicles_2"), ("oaktree", "oak_tree"), ("medium_mammal", "medium_mamm")],
)
def test_an_unknown_name_is_answered_by_those_like_it_and_not_by_all_hundred(name, near):
    with pytest.raises(UserError) as error:
        chosen("people", name)
    assert f"classes: {name!r} is not a class of the dataset; did you mean {near}" in str(error.value)
    assert "cattle, and 100 more" in str(error.value)
    assert len(str(error.value)) < 400


def test_superclasses_are_the_classes_of_the_coarse_labels_and_there_alone(tmp_path):
    names = classes.class_names("cifar100_coarse", tmp_path)
    assert classes.choose(3, names) == [0, 1, 2]
    assert classes.choose(["people", "fish"], names, None, classes.superclasses("cifar100_coarse")) == [14, 1]
    with pytest.raises(UserError, match="'woman' is not a class of the dataset"):
        classes.choose(["people", "woman"], names, None, classes.superclasses("cifar100_coarse"))
    assert {name: bool(classes.superclasses(name)) for name in ("cifar10", "cifar100", "digits", "folder")} == {
        "cifar10": False,
        "cifar100": True,
        "digits": False,
        "folder": False,
    }


@pytest.mark.parametrize(
    ("dataset", "count", "first"),
    [
        ("cifar10", 10, "airplane"),
        ("cifar100", 100, "apple"),
        ("cifar100_coarse", 20, "aquatic_mammals"),
        ("digits", 10, "0"),
    ],
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


@pytest.mark.parametrize("given", ["caf\u00e9", "cafe\u0301"])
@pytest.mark.parametrize("stored", ["caf\u00e9", "cafe\u0301"])
def test_an_accent_may_be_written_in_either_way(given, stored):
    assert classes.choose([given, "bird"], ("bird", stored)) == [1, 0]


@pytest.mark.parametrize(
    ("read", "stored"),
    [("7", "007"), ("1000.0", "1e3"), ("1000", "1_000"), ("31", "0x1F"), ("true", "True"), ("null", "~")],
)
def test_a_class_that_yaml_would_read_as_another_value_is_named_with_quotes(read, stored):
    assert classes.choose([stored, "bird"], ("bird", stored)) == [1, 0]
    with pytest.raises(UserError) as error:
        classes.choose([read, "bird"], ("bird", stored))
    assert f"but {stored!r} is, which YAML reads as the same value; quote it: classes=['{stored}']" in str(error.value)
    for name in (read, stored):
        with pytest.raises(UserError, match="both classes of the dataset, as the same value"):
            classes.choose([name, "bird"], ("bird", stored, read))


def test_names_that_are_other_values_or_text_are_not_taken_for_one_another():
    names = ("1", "true", "1.0", "no", "12:30", "2024-01-01", "-1")
    assert classes.choose(list(names), names) == list(range(7))
