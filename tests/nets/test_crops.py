"""Watched images: which they are, and that they are augmented only where that is asked for."""

import numpy as np
import pytest
import torch

from src.core import seeds
from src.nets import crops
from src.nets.crops import Watched, augmented, crop, draw_crops

RANDOM = np.random.default_rng(0)
RAW = {split: RANDOM.integers(1, 256, (20, 16, 16, 3), dtype=np.uint8) for split in ("train", "test")}
SUBSET = {
    "val_index": np.array([7, 3, 11]),
    "val_labels": np.array([0, 1, 1]),
    "test_index": np.array([2, 19]),
    "test_labels": np.array([1, 0]),
}


@pytest.mark.parametrize(
    ("watch", "split", "part"),
    [("validation", "train", "val"), ("test", "test", "test"), ("augmented_test", "test", "test")],
)
def test_the_watched_images_are_those_of_their_part(watch, split, part):
    watched = Watched.of(RAW, SUBSET, watch)
    assert watched.images is RAW[split]
    np.testing.assert_array_equal(watched.index, SUBSET[f"{part}_index"])
    np.testing.assert_array_equal(watched.labels, SUBSET[f"{part}_labels"])
    assert watched.augmented == (watch == "augmented_test")


@pytest.mark.parametrize("watch", ["validation", "test"])
@pytest.mark.parametrize("epoch", [1, 2, 50])
def test_validation_and_plain_test_images_are_never_augmented(watch, epoch):
    watched = Watched.of(RAW, SUBSET, watch)
    images, index = watched.at(3, epoch)
    assert (images is watched.images, index is watched.index) == (True, True)


def test_augmented_images_are_others_in_every_epoch_and_under_every_seed_and_the_same_again():
    watched, before = Watched.of(RAW, SUBSET, "augmented_test"), RAW["test"].copy()
    seen = [watched.at(seed, epoch)[0] for seed, epoch in ((0, 1), (0, 2), (1, 1))]
    assert len({images.tobytes() for images in seen}) == 3
    images, index = watched.at(0, 1)
    np.testing.assert_array_equal(images, seen[0])
    assert (images.shape, images.dtype, index.tolist()) == ((2, 16, 16, 3), np.uint8, [0, 1])
    np.testing.assert_array_equal(RAW["test"], before)


def test_they_are_cropped_and_mirrored_as_training_images_are():
    images, _ = Watched.of(RAW, SUBSET, "augmented_test").at(0, 4)
    rng = torch.Generator().manual_seed(seeds.derive(0, "augment test images", 4))
    batch = torch.from_numpy(RAW["test"][SUBSET["test_index"]])
    np.testing.assert_array_equal(images, crop(batch, *draw_crops(2, 16, 16, rng)).numpy())


def test_images_are_augmented_block_by_block_as_far_as_the_index_goes(monkeypatch):
    monkeypatch.setattr(crops, "BLOCK", 6)
    rng, images = torch.Generator().manual_seed(0), torch.from_numpy(RAW["test"])
    expected = torch.cat([crop(block, *draw_crops(len(block), 16, 16, rng)) for block in images.split(6)])
    np.testing.assert_array_equal(augmented(RAW["test"], np.arange(20), seed=0), expected.numpy())
