"""Where images come from: each source as images and labels by split. For `download`."""

import pickle
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src import folders, pictures
from src.classes import class_names
from src.downloads import fetch
from src.errors import UserError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

# https://www.cs.toronto.edu/~kriz/cifar.html gives the archives; SHA-256 as published with TensorFlow Datasets.
CIFAR_SHA256 = {
    "cifar10": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "cifar100": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
}


@dataclass(frozen=True)
class Split:
    """One half of a dataset: `images` yields blocks (b, H, W, 3) uint8 in the order of `labels` (N,) int64."""

    images: Iterable[np.ndarray]
    shape: tuple[int, int]  # H, W in pixels
    labels: np.ndarray


def folder(root: Path, listing: folders.Listing, *, max_side: int) -> dict[str, Split]:
    """Images of any format; where their sizes differ they are cut to squares (see `pictures.side`)."""
    files = {split: folders.paths(root, listing, split) for split in folders.SPLITS}
    square = pictures.side([path for paths in files.values() for path in paths], max_side)
    result = {}
    for split, paths in files.items():
        height, width = next(pictures.decode(paths[:1], square)).shape[1:3]
        labels = np.repeat(np.arange(len(listing[split])), [len(names) for names in listing[split].values()])
        result[split] = Split(pictures.decode(paths, square), (height, width), labels.astype(np.int64))
    return result


def digits() -> dict[str, Split]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels in 17 grey levels; every fifth image is for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # (N, 8, 8)
    images = np.repeat(grey[..., None], 3, axis=3)  # (N, 8, 8, 3)
    test = np.arange(len(images)) % 5 == 4
    return {
        split: Split([images[chosen]], (8, 8), bunch.target[chosen].astype(np.int64))
        for split, chosen in (("train", ~test), ("test", test))
    }


def cifar(dataset: str, downloads: Path) -> dict[str, Split]:
    """CIFAR-10 or CIFAR-100 as torchvision reads it, from the archive in `downloads` or from the network.

    Raises:
        UserError: the archive can neither be found nor fetched, or is not the published one.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = CIFAR10 if dataset == "cifar10" else CIFAR100
    return read_cifar(fetch(kind.url, downloads, CIFAR_SHA256[dataset]), kind, class_names(dataset, downloads))


def read_cifar(archive: Path, kind: "type[CIFAR10]", classes: tuple[str, ...]) -> dict[str, Split]:
    """Read a CIFAR archive. Its batches are pickles: call this only after the archive's hash was checked."""
    from torchvision.datasets.utils import extract_archive

    with tempfile.TemporaryDirectory() as folder:
        try:
            extract_archive(str(archive), folder)
            read = {split: kind(folder, train=split == "train") for split in folders.SPLITS}
        except (OSError, RuntimeError, EOFError, tarfile.TarError, pickle.UnpicklingError) as error:
            raise UserError(f"{archive}: {' '.join(str(error).split())}; delete it, and it is fetched again") from error
    if tuple(read["train"].classes) != classes:
        raise UserError(f"{archive}: its classes are not those of the published dataset")
    return {
        split: Split([part.data], part.data.shape[1:3], np.asarray(part.targets, np.int64))
        for split, part in read.items()
    }
