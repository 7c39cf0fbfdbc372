"""What lies in `data/raw`, compared with its checksums when it is read: images one by one, all other files whole."""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.storage import files, paths

AGAIN = "`dvc repro -f -s download` makes it again"
SHOWN = 5  # damaged images that are named
BLOCK = 256  # images that are read together where all are


class StoredImages:
    """Images (N, H, W, 3) uint8 in a .npy file. `images[index]` reads some of them, and compares their checksums.

    They are read by their position, not from a memory map: its pages would count as memory of this process, and the
    system may map megabytes around each. A CRC-32 takes 1 us of an image of 32 x 32 pixels.

    Args:
        path: the file, beside which `write_checksums` wrote the checksums.

    Raises:
        UserError: a file is missing or damaged; so do all methods that read images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checksums = files.read_array(of_checksums(path), AGAIN)
        pixels = files.read_array(path, AGAIN)
        self.shape = pixels.shape
        header = files.array_header(self.shape, "uint8")
        self.file = path.open("rb", buffering=0)  # closed with the last reader
        if os.pread(self.file.fileno(), len(header), 0) != header or self.checksums.shape != self.shape[:1]:
            raise UserError(f"{path} is damaged (it does not begin as it was written); {AGAIN}")
        self.offset, self.nbytes = len(header), pixels.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Images by position (H, W, 3), slice or array of positions (n, H, W, 3); they may be changed."""
        chosen = np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.asarray(index)
        size, positions = self.nbytes // max(1, len(self)), np.atleast_1d(chosen).tolist()
        images = [os.pread(self.file.fileno(), size, self.offset + position * size) for position in positions]
        expected = self.checksums[positions].tolist()
        wrong = [
            position
            for position, image, sum_written in zip(positions, images, expected, strict=True)
            if checksum(image) != sum_written
        ]
        if wrong:
            more = f" and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
            named = f"image{'s'[: len(wrong) > 1]} {', '.join(map(str, wrong[:SHOWN]))}{more}"
            raise UserError(f"{self.path} is damaged ({named}: not the bytes that were written); {AGAIN}")
        return np.frombuffer(bytearray(b"".join(images)), np.uint8).reshape(*chosen.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All images, once in memory."""
        pixels = np.empty(self.shape, dtype or np.uint8)
        for start in range(0, len(self), BLOCK):
            pixels[start : start + BLOCK] = self[start : start + BLOCK]
        return pixels


def of_checksums(path: Path) -> Path:
    """The file of the checksums of a file of images."""
    return path.with_suffix(".crc32.npy")


def write_checksums(path: Path, checksums: Sequence[int]) -> None:
    """Write the CRC-32 of each image of a file, as `checksum` gives it."""
    files.write_array(of_checksums(path), [np.array(checksums, np.uint32)], (len(checksums),), "uint32")


def checksum(image: bytes | memoryview) -> int:
    """The CRC-32 of the bytes of an image."""
    return zlib.crc32(image)


def write_images(path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, ...]) -> None:
    """Write images (N, H, W, 3) uint8, given in blocks, and their checksums."""
    checksums: list[int] = []

    def summed() -> Iterator[np.ndarray]:
        for block in blocks:
            checksums.extend(checksum(image.data) for image in np.ascontiguousarray(block))
            yield block

    files.write_array(path, summed(), shape, "uint8")
    write_checksums(path, checksums)


def images_path(split: str) -> Path:
    """The file of all images of a split, `train` or `test`."""
    return paths.RAW / f"{split}_images.npy"


def labels_path(split: str) -> Path:
    """The file of their labels."""
    return paths.RAW / f"{split}_labels.npy"


CLASSES, DUPLICATES = paths.RAW / "classes.json", paths.RAW / "duplicates.json"


def images(split: str) -> StoredImages:
    """All images of a split."""
    _require(of_checksums(images_path(split)))
    return StoredImages(images_path(split))


def labels(split: str) -> np.ndarray:
    """Their labels (N,) int64."""
    return files.read_array(_require(labels_path(split)), AGAIN)


def classes() -> list[str]:
    """The names of all classes of the dataset."""
    return files.read_json(_require(CLASSES), AGAIN)


def duplicates() -> dict[str, Any]:
    """The images that are in training and in test, as `data.duplicates.find` returns them."""
    return files.read_json(_require(DUPLICATES), AGAIN)


def write_sums() -> None:
    """Write the hashes of all files but the images, which have checksums of their own."""
    files.write_sums(paths.RAW, [path for path in paths.RAW.iterdir() if not path.name.endswith("_images.npy")])


def _require(path: Path) -> Path:
    """The path, after the hash of its file was compared."""
    files.require_sums(path.parent, [path.name], AGAIN)
    return path
