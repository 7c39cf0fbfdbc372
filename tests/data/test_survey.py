"""One look at all images: which have one colour only, which are equal, and what is said of both."""

import numpy as np
import pytest

from src.data import survey
from src.storage import files, raw


def named(split: str, position: int) -> str:
    return f"{split}[{position}]"


@pytest.fixture
def images() -> np.ndarray:
    """300 images; of the first 40 every pixel has one colour, of another one all but one value of one pixel."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(300, 4, 5, 3), dtype=np.uint8)
    images[:41] = images[:41, :1, :1]
    images[40, 3, 4, 2] ^= 1
    images[299] = images[7]
    return images


def test_all_images_are_looked_at_and_get_checksums(tmp_path, images):
    files.write_array(tmp_path / "a.npy", [images], images.shape, "uint8")
    result = survey.survey(tmp_path / "a.npy")
    assert np.flatnonzero(result.one_colour).tolist() == [*range(40), 299]
    assert result.digests[299] == result.digests[7]
    assert len(set(result.digests)) == 299
    np.testing.assert_array_equal(raw.StoredImages(tmp_path / "a.npy")[:], images)


def test_classes_of_which_many_images_have_one_colour_are_named():
    labels = np.repeat([0, 1, 2, 3, 4], 10)
    one_colour = np.zeros(50, bool)
    one_colour[[0, *range(10, 20), 25, 26]] = True  # 1, 10, 2 of 10
    names = ["sky", "ink", "night", "cat", "dog"]
    assert survey.plain_classes("test", one_colour, labels, names) == [
        "test: images of one colour only, which show nothing: 'ink' 10 of 10, 'night' 2 of 10"
    ]
    assert survey.plain_classes("test", one_colour[20:] & False, labels[20:], names) == []
    many = survey.plain_classes("train", labels >= 0, labels, names)
    assert many[0].endswith("'sky' 10 of 10, 'ink' 10 of 10, 'night' 10 of 10, and 2 more")


def test_equal_images_are_told_by_whether_their_class_is_the_same():
    labels = np.array([0, 0, 1, 1, 1, 0])
    lines = survey.repeats("train", [b"a", b"a", b"a", b"b", b"b", b"c"], labels, named)
    assert lines == [
        "train: images with the pixels of another image of their class: 2 (train[0] = train[1], train[3] = train[4])",
        "train: images with the pixels of an image of another class: 1 (train[0] = train[2])",
    ]
    assert survey.repeats("train", [b"a", b"b"], labels[:2], named) == []
    (many,) = survey.repeats("a", [b"a"] * 6, np.zeros(6, int), named)
    assert many.endswith("of their class: 5 (a[0] = a[1], a[0] = a[2], a[0] = a[3], and 2 more)")
