"""`data/raw`: whatever byte is flipped, the reader names the file, and which images."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.storage import files, paths, raw
from tests.helpers.raw_files import write_raw

RNG = np.random.default_rng(0)
IMAGES = {
    split: RNG.integers(256, size=(count, 2, 3, 3), dtype=np.uint8) for split, count in (("train", 9), ("test", 5))
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_raw({split: (images, np.arange(len(images))) for split, images in IMAGES.items()}, ["cat", "dog"])


def read_all() -> None:
    """As the stages that read a file do."""
    for split in IMAGES:
        np.testing.assert_array_equal(raw.images(split)[np.arange(len(IMAGES[split]))], IMAGES[split])
        assert raw.labels(split).tolist() == list(range(len(IMAGES[split])))
    assert raw.classes() == ["cat", "dog"]
    assert raw.duplicates() == {"train": [], "test": [], "said": []}


NAMES = [f"{split}_{kind}" for split in IMAGES for kind in ("images.npy", "images.crc32.npy", "labels.npy")]


@pytest.mark.parametrize("name", [*NAMES, "classes.json", "duplicates.json", files.SUMS])
def test_any_flipped_byte_of_any_file_is_noticed_by_its_reader(name):
    read_all()
    path = paths.RAW / name
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(UserError) as error:
            read_all()
        said = str(error.value)
        assert said.startswith("data/raw")
        assert "is damaged" in said
        assert said.endswith("`dvc repro -f -s download` makes it again")
        assert "\n" not in said
        assert name == files.SUMS or name.removesuffix(".crc32.npy") in said
    path.write_bytes(whole)
    read_all()


def test_of_damaged_images_the_first_are_named_and_others_are_read():
    path = raw.images_path("train")
    whole = bytearray(path.read_bytes())
    for position in (1, 2, 3, 4, 5, 7):
        whole[len(whole) - (9 - position) * 18] ^= 1
    path.write_bytes(whole)
    stored = raw.images("train")
    np.testing.assert_array_equal(stored[np.array([8, 0, 6])], IMAGES["train"][[8, 0, 6]])
    with pytest.raises(UserError, match=r"train_images.npy is damaged \(image 7: not the bytes that were written\)"):
        stored[np.array([0, 7])]
    with pytest.raises(UserError, match=r"\(images 1, 2, 3, 4, 5 and 1 more: not the bytes"):
        np.asarray(stored)


def test_images_that_were_cut_off_are_named():
    path = raw.images_path("test")
    stored = raw.images("test")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="images 3, 4: not the bytes"):
        stored[:]
    with pytest.raises(UserError, match=r"test_images\.npy is damaged"):
        raw.images("test")


def test_images_are_read_by_position_slice_and_array():
    stored, images = raw.images("train"), IMAGES["train"]
    assert len(stored) == 9
    assert stored.shape == images.shape
    assert stored.nbytes == images.nbytes
    for index in (3, slice(2, 7, 2), np.array([4, 4, 0]), np.array([], int)):
        np.testing.assert_array_equal(stored[index], images[index])
    np.testing.assert_array_equal(np.asarray(stored), images)
    stored[0][:] = 0  # what was read may be changed
    np.testing.assert_array_equal(stored[0], images[0])
