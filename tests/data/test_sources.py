"""Datasets: the same arrays whatever the source, and the published archives in their format."""

import hashlib
import pickle
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, CIFAR100

from src.core.errors import UserError
from src.data import folders, sources
from src.data.classes import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from src.storage.resume import StateFile


def pixels(split: sources.Split) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        split.write(Path(folder) / "images.npy", StateFile())
        return np.load(Path(folder) / "images.npy")


def test_digits_are_those_of_scikit_learn_every_fifth_for_testing():
    bunch, result = load_digits(), sources.digits()
    test = np.arange(1797) % 5 == 4
    np.testing.assert_array_equal(result["test"].labels, bunch.target[test])
    np.testing.assert_array_equal(result["train"].labels, bunch.target[~test])
    images = pixels(result["train"])
    assert images.shape == (1438, 8, 8, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    np.testing.assert_allclose(images[..., 0] / 255 * 16, bunch.images[~test], atol=0.5 / 255 * 16)


FORMATS = {
    CIFAR10: (CIFAR10_CLASSES, [f"data_batch_{number}" for number in range(1, 6)], ["test_batch"], "labels"),
    CIFAR100: (CIFAR100_CLASSES, ["train"], ["test"], "fine_labels"),
}


COARSE_NAMES = list(CIFAR100_SUPERCLASSES)
COARSE = [
    next(number for number, names in enumerate(CIFAR100_SUPERCLASSES.values()) if name in names)
    for name in CIFAR100_CLASSES
]


def write_batch(path: Path, content: dict) -> list[str]:
    """Its name and hash, as torchvision lists them."""
    raw = pickle.dumps(content, protocol=2)
    path.write_bytes(raw)
    return [path.name, hashlib.md5(raw).hexdigest()]


def miniature(
    folder: Path,
    published: type,
    classes: tuple[str, ...] | None = None,
    coarse: Sequence[int] = COARSE,
    coarse_names: Sequence[str] = COARSE_NAMES,
) -> tuple[Path, type, dict]:
    """An archive of four images to a batch in the published format, its class, and the batches as they were written.

    See https://www.cs.toronto.edu/~kriz/cifar.html: a row is 1024 reds, 1024 greens, 1024 blues.
    """
    names, train, test, key = FORMATS[published]
    base, rng = folder / published.base_folder, np.random.default_rng(0)
    base.mkdir(parents=True)

    batches = {
        name: {
            "data": rng.integers(256, size=(4, 3072), dtype=np.uint8),
            key: rng.integers(len(names), size=4).tolist(),
        }
        for name in (*train, *test)
    }
    described = {published.meta["key"]: list(classes or names)}
    if published is CIFAR100:
        described["coarse_label_names"] = list(coarse_names)
        for batch in batches.values():
            batch["coarse_labels"] = [coarse[label] for label in batch[key]]
    meta = write_batch(base / published.meta["filename"], described)
    members = {
        "train_list": [write_batch(base / name, batches[name]) for name in train],
        "test_list": [write_batch(base / name, batches[name]) for name in test],
        "meta": {**published.meta, "md5": meta[1]},
    }
    archive = folder / published.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(base, published.base_folder)
    return archive, type("Miniature", (published,), members), batches


@pytest.mark.parametrize("published", FORMATS)
def test_an_archive_is_read_as_images_of_height_width_and_colour(tmp_path, published):
    classes, train, test, key = FORMATS[published]
    archive, kind, batches = miniature(tmp_path, published)
    result = sources.read_cifar(archive, kind, classes)
    for split, names in (("train", train), ("test", test)):
        rows = np.concatenate([batches[name]["data"] for name in names])
        images = pixels(result[split])
        assert result[split].shape == (32, 32)
        assert images.shape == (4 * len(names), 32, 32, 3)
        np.testing.assert_array_equal(images[:, 5, 7, 2], rows[:, 2 * 1024 + 5 * 32 + 7])
        assert result[split].labels.dtype == np.int64
        assert result[split].labels.tolist() == [label for name in names for label in batches[name][key]]


def test_coarse_labels_are_those_of_the_archive_for_the_same_images(tmp_path):
    archive, kind, batches = miniature(tmp_path, CIFAR100)
    fine = sources.read_cifar(archive, kind, CIFAR100_CLASSES)
    coarse = sources.read_cifar(archive, kind, tuple(CIFAR100_SUPERCLASSES))
    for split in folders.SPLITS:
        assert coarse[split].labels.tolist() == batches[split]["coarse_labels"]
        assert coarse[split].labels.dtype == np.int64
        assert coarse[split].labels.max() < 20
        np.testing.assert_array_equal(pixels(coarse[split]), pixels(fine[split]))


@pytest.mark.parametrize("wanted", [CIFAR100_CLASSES, tuple(CIFAR100_SUPERCLASSES)])
@pytest.mark.parametrize("differing", [{"coarse": COARSE[::-1]}, {"coarse_names": COARSE_NAMES[::-1]}])
def test_an_archive_whose_superclasses_are_not_those_of_our_table_is_refused(tmp_path, wanted, differing):
    archive, kind, _ = miniature(tmp_path, CIFAR100, **differing)
    with pytest.raises(UserError, match="its superclasses are not those of the published dataset"):
        sources.read_cifar(archive, kind, wanted)


def test_an_archive_with_other_classes_is_refused(tmp_path):
    archive, kind, _ = miniature(tmp_path, CIFAR10, classes=CIFAR10_CLASSES[::-1])
    with pytest.raises(UserError, match="its classes are not those of the published dataset"):
        sources.read_cifar(archive, kind, CIFAR10_CLASSES)


def test_an_archive_with_a_batch_that_is_not_the_published_one_is_refused(tmp_path):
    archive, _, _ = miniature(tmp_path, CIFAR10)
    with pytest.raises(UserError, match=r"not found or corrupted.*; delete it, and it is fetched again"):
        sources.read_cifar(archive, CIFAR10, CIFAR10_CLASSES)


def test_an_archive_that_was_cut_short_is_refused(tmp_path):
    archive, kind, _ = miniature(tmp_path, CIFAR10)
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(UserError, match="delete it, and it is fetched again"):
        sources.read_cifar(archive, kind, CIFAR10_CLASSES)


@pytest.mark.parametrize("content", [b"", b"no archive at all"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    archive = tmp_path / CIFAR10.filename
    archive.write_bytes(content)
    with pytest.raises(UserError, match="delete it, and it is fetched again"):
        sources.read_cifar(archive, CIFAR10, CIFAR10_CLASSES)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "cifar100_coarse"])
def test_an_archive_that_is_not_the_published_one_is_refused_before_it_is_opened(tmp_path, dataset):
    kind = CIFAR10 if dataset == "cifar10" else CIFAR100
    (tmp_path / kind.filename).write_bytes(b"pickles of a stranger")
    with pytest.raises(UserError, match=f"{kind.filename}: its SHA-256 does not begin with"):
        sources.cifar(dataset, tmp_path)


def image_folder(root: Path, size: dict[str, tuple[int, int]]) -> tuple[Path, folders.Listing]:
    """Red cats and blue dogs, two of each in each split; `size` of an image (width, height) by its file name."""
    for split in folders.SPLITS:
        for name, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
            for file in ("1.png", "2.png"):
                path = root / split / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", size[file], colour).save(path)
    return root, folders.scan(root)[0]


@pytest.mark.parametrize(
    ("sizes", "shape"), [([(12, 8), (12, 8)], (8, 8)), ([(12, 10), (30, 16)], (13, 13)), ([(99, 99)] * 2, (64, 64))]
)
def test_a_folder_gives_images_and_labels_class_by_class(tmp_path, sizes, shape):
    root, listing = image_folder(tmp_path, dict(zip(("1.png", "2.png"), sizes, strict=True)))
    for split in sources.folder(root, listing, max_side=64).values():
        images = pixels(split)
        assert split.shape == shape
        assert images.shape == (4, *shape, 3)
        assert split.labels.tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(images[..., 2] == 255, np.broadcast_to(split.labels == 1, (*shape[::-1], 4)).T)


def test_a_folder_of_photographs_of_one_size_some_of_them_turned_gives_one_shape(tmp_path):
    root, _ = image_folder(tmp_path, {"1.png": (12, 8), "2.png": (12, 8)})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 8), (255, 0, 0)).save(root / "train" / "cat" / "3.png", exif=exif)
    split = sources.folder(root, folders.scan(root)[0], max_side=64)["train"]
    assert pixels(split).shape == (5, *split.shape, 3)
