"""The datasets: CIFAR, scikit-learn's digits and image folders, each as the images and labels of two splits."""

import pickle
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.core.errors import UserError
from src.data import folders
from src.data.classes import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, class_names
from src.storage import files
from src.storage.fetch import fetch, unpack
from src.storage.resume import StateFile

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


# The archives are at https://www.cs.toronto.edu/~kriz/cifar.html; TensorFlow Datasets publishes their SHA-256.
CIFAR_SHA256 = {
    "cifar10": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "cifar100": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
}


@dataclass(frozen=True)
class Split:
    """The training or test images of a dataset.

    Args:
        images: yields blocks (b, H, W, 3) uint8 in the order of the labels.
        shape: H, W in pixels.
        labels: (N,) int64.
        fill: writes the same .npy file faster, and can be interrupted.
    """

    images: Iterable[np.ndarray]
    shape: tuple[int, int]
    labels: np.ndarray
    fill: Callable[[Path, StateFile], None] | None = None

    def write(self, path: Path, state_file: StateFile) -> None:
        """Write all images to a .npy file (N, H, W, 3); `state_file` as for `resume.fill_rows`."""
        if self.fill:
            self.fill(path, state_file)
        else:
            files.write_array(path, self.images, (len(self.labels), *self.shape, 3), "uint8")


def folder(root: Path, listing: folders.Listing, *, max_side: int) -> dict[str, Split]:
    """Images in folders, of any format; images of different sizes are cut to squares, see `decode.square_side`."""
    from src.data import decode
    from src.storage import resume

    counts = {split: folders.count(listing, split) for split in folders.SPLITS}
    paths = {split: partial(folders.paths, root, listing, split) for split in folders.SPLITS}
    sizes = [decode.sizes(paths[split](), counts[split], f"look at {split}") for split in folders.SPLITS]
    square = decode.square_side(np.concatenate(sizes), max_side)
    result = {}
    for split, count in counts.items():
        height, width = next(decode.decode_images(islice(paths[split](), 1), square)).shape[1:3]
        shape = (count, height, width, 3)
        labels = np.repeat(np.arange(len(listing[split])), [len(names) for names in listing[split].values()])
        compute = partial(decode.write, paths=paths[split], shape=shape, square=square, label=f"decode {split}")
        made_of = decode.MadeOf(root, paths[split], shape, square)
        fill = partial(resume.fill_rows, shape=shape, compute=compute, made_of=made_of)
        one_by_one = decode.decode_images(paths[split](), square)
        result[split] = Split(one_by_one, (height, width), labels.astype(np.int64), fill)
    return result


def digits() -> dict[str, Split]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels in 17 grey levels; every fifth image is for testing."""
    rows = np.loadtxt(_digits_file(), delimiter=",")  # (N, 64 pixels and a label)
    grey = np.rint(rows[:, :64].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # (N, 8, 8)
    images = np.repeat(grey[..., None], 3, axis=3)  # (N, 8, 8, 3)
    test = np.arange(len(images)) % 5 == 4
    return {
        split: Split([images[chosen]], (8, 8), rows[chosen, 64].astype(np.int64))
        for split, chosen in (("train", ~test), ("test", test))
    }


def _digits_file() -> Path:
    """The file that scikit-learn's `load_digits` reads; importing the package takes a second."""
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


def cifar(dataset: str, downloads: Path) -> dict[str, Split]:
    """CIFAR-10 or CIFAR-100, read by torchvision from the archive in `downloads`, which is fetched if missing.

    `cifar100_coarse` is CIFAR-100 with the coarse labels of the archive.

    Raises:
        UserError: the archive cannot be fetched, or is not the published one.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = CIFAR10 if dataset == "cifar10" else CIFAR100
    archive = fetch(kind.url, downloads, CIFAR_SHA256[dataset.removesuffix("_coarse")])
    return read_cifar(archive, kind, class_names(dataset, downloads))


def read_cifar(archive: Path, kind: "type[CIFAR10]", classes: tuple[str, ...]) -> dict[str, Split]:
    """Read a CIFAR archive, whose hash must have been checked, because its batches are pickles.

    Args:
        classes: the names of the classes, or of CIFAR-100's superclasses for the coarse labels.

    Raises:
        UserError: it cannot be read, or its classes are not those of the published dataset.
    """
    coarse = classes == tuple(CIFAR100_SUPERCLASSES)
    published = CIFAR100_CLASSES if coarse else classes
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpack(archive, Path(folder))
            read = {split: kind(folder, train=split == "train") for split in folders.SPLITS}
            groups = {split: _coarse_labels(part) for split, part in read.items() if published == CIFAR100_CLASSES}
        except (OSError, RuntimeError, EOFError, tarfile.TarError, pickle.UnpicklingError) as error:
            raise UserError(f"{archive}: {' '.join(str(error).split())}; delete it, and it is fetched again") from error
    if tuple(read["train"].classes) != published:
        raise UserError(f"{archive}: its classes are not those of the published dataset")
    if any(coarse_labels != _expected(read[split].targets) for split, coarse_labels in groups.items()):
        raise UserError(f"{archive}: its superclasses are not those of the published dataset")
    return {
        split: Split(
            [part.data], part.data.shape[1:3], np.asarray(groups[split][1] if coarse else part.targets, np.int64)
        )
        for split, part in read.items()
    }


def _coarse_labels(part: "CIFAR10") -> tuple[list[str], list[int]]:
    """The names of CIFAR-100's superclasses and the coarse label of each image, which torchvision does not read."""
    (name, _), *_ = part.train_list if part.train else part.test_list

    def content(name: str) -> dict:
        with (Path(part.root) / part.base_folder / name).open("rb") as file:
            return pickle.load(file, encoding="latin1")  # noqa: S301 - the archive's hash was checked

    return content(part.meta["filename"])["coarse_label_names"], content(name)["coarse_labels"]


def _expected(fine_labels: list[int]) -> tuple[list[str], list[int]]:
    """The value of `_coarse_labels` for these fine labels if our table of superclasses is that of the archive."""
    members = {name: label for label, names in enumerate(CIFAR100_SUPERCLASSES.values()) for name in names}
    return list(CIFAR100_SUPERCLASSES), [members[CIFAR100_CLASSES[label]] for label in fine_labels]
