"""Duplicates between training and test: by pixels, and those that are published."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import duplicates

RANDOM = np.random.default_rng(0).integers(256, size=(8, 4, 4, 3), dtype=np.uint8)


def digests(images: np.ndarray) -> list[bytes]:
    """Of so few and small images, their bytes."""
    return [image.tobytes() for image in images]


def named(split: str, position: int) -> str:
    return f"{split}[{position}]"


def test_images_of_equal_pixels_are_found_wherever_they_are():
    """Training images 1 and 3 are the test images 2 and 4, which are equal; 4 and 5 are equal among themselves."""
    train, test = RANDOM[[0, 1, 2, 1, 3, 3]], RANDOM[[4, 5, 1, 6, 1]]
    copies, copied, first = duplicates.exact(digests(train), digests(test))
    assert copies.tolist() == [1, 3]
    assert copied.tolist() == [2, 4]
    assert first.tolist() == [2, 2]


def test_one_other_value_makes_another_image():
    changed = RANDOM.copy()
    changed[:, 3, 3, 2] ^= 1
    assert [len(part) for part in duplicates.exact(digests(RANDOM), digests(changed))] == [0, 0, 0]


@pytest.mark.parametrize(("dataset", "images"), [("cifar10", 286), ("cifar100", 891), ("cifar100_coarse", 891)])
def test_cifars_published_near_duplicates_are_one_for_each_test_image(dataset, images):
    """Barz and Denzler say 3.3 % and 10 %, with the duplicates within the test images themselves."""
    train, test = duplicates.near_duplicates(dataset)
    assert len(test) == len(train) == images
    assert (np.diff(test) > 0).all()
    assert 0 <= test.min() < test.max() < 10_000
    assert 0 <= train.min() < train.max() < 50_000


def test_published_pairs_are_those_of_the_source():
    """The first row of each file of cvjena/cifair."""
    for dataset, pair in (("cifar10", (49007, 6611)), ("cifar100", (24083, 1100))):
        assert pair in zip(*duplicates.near_duplicates(dataset), strict=True)


def test_other_datasets_have_no_published_duplicates():
    assert [len(part) for part in duplicates.near_duplicates("digits")] == [0, 0]


def test_what_is_found_is_said_with_the_first_pairs():
    result = duplicates.find("digits", digests(RANDOM), digests(RANDOM[[5, 4, 0, 1, 2]]), named)
    assert result == {
        "train": [0, 1, 2, 4, 5],
        "test": [0, 1, 2, 3, 4],
        "said": [
            "training images whose pixels are those of a test image: 5 "
            "(train[0] = test[2], train[1] = test[3], train[2] = test[4], and 2 more)"
        ],
    }
    apart = duplicates.find("digits", digests(RANDOM[:2]), digests(RANDOM[2:]), named)
    assert apart == {"train": [], "test": [], "said": []}


def test_both_kinds_are_put_together_once():
    """Of images that differ only in CIFAR's first published pair, which are equal here."""
    train, test = duplicates.near_duplicates("cifar10")
    images = np.arange(50_000, dtype=np.int64).view(np.uint8).reshape(50_000, 8)
    others = np.arange(60_000, 70_000, dtype=np.int64).view(np.uint8).reshape(10_000, 8)
    others[test[0]] = images[train[0]]
    result = duplicates.find("cifar10", digests(images), digests(others), named)
    assert result["train"] == sorted(set(train.tolist()))
    assert result["test"] == test.tolist()
    assert result["said"] == [
        f"training images whose pixels are those of a test image: 1 (train[{train[0]}] = test[{test[0]}])",
        "test images with a near-duplicate in training: 286 of 10,000 (Barz and Denzler 2020)",
    ]


@pytest.fixture(scope="module")
def clone(make_clone):
    """A tree of two classes; one training image is a test image's file, another one the same pixels as PNG."""
    clone = make_clone()
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            folder = clone.folder / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.bmp")
    images = clone.folder / "images"
    (images / "train/cat/2.bmp").write_bytes((images / "test/cat/1.bmp").read_bytes())
    (images / "train/dog/4.bmp").unlink()
    Image.open(images / "test/dog/0.bmp").save(images / "train/dog/4.png")
    clone.configure(dataset="folder", folder="images", classes=2, prepare={"per_class": None})
    clone.stage("inputs")
    clone.downloaded = clone.stage("download")
    return clone


def test_a_folders_duplicates_are_named(clone):
    line = (
        "training images whose pixels are those of a test image: 2 "
        "(train/cat/2.bmp = test/cat/1.bmp, train/dog/4.png = test/dog/0.bmp)"
    )
    assert f"{line}; prepare.without_duplicates=true leaves the training images out\n" in clone.downloaded
    assert clone.json("data/raw/duplicates.json") == {"train": [2, 10], "test": [1, 3], "said": [line]}


@pytest.mark.parametrize("dropped", [False, True])
def test_training_images_that_are_test_images_are_left_out_on_request(clone, dropped):
    clone.configure(prepare={"without_duplicates": dropped})
    assert ("8 training, 2 validation" if dropped else "10 training, 2 validation") in clone.stage("prepare")
    subset = np.load(clone.folder / "data/subset/seed0.npz")
    used = {*subset["train_index"].tolist(), *subset["val_index"].tolist()}
    assert used == set(range(12)) - ({2, 10} if dropped else set())
    assert subset["test_index"].tolist() == list(range(6))


def test_the_list_is_one_row_for_each_test_image():
    lines = [line for line in Path("src/data/cifar_duplicates.csv").read_text().splitlines() if line[0] != "#"]
    rows = list(csv.DictReader(lines))
    assert max(Counter((row["dataset"], row["test"]) for row in rows).values()) == 1
