"""The official files of CIFAR-10-C (or CIFAR-100-C), where the user has them. For the stage `robustness`.

Each corruption is one array of all test images five times, the mildest severity first, in the order of the dataset
(https://zenodo.org/records/2535967). They are mapped into memory, and never unpickled.
"""

from pathlib import Path

import numpy as np

from src.corruptions import SEVERITIES
from src.errors import UserError


def read(folder: Path, name: str, severity: int, index: np.ndarray, total: int) -> np.ndarray:
    """The chosen test images (n, 32, 32, 3) uint8, corrupted.

    Args:
        index: (n,) positions in the dataset's own order of its `total` test images.

    Raises:
        UserError: the file is missing, or does not hold what it should.
    """
    found = _open(folder / f"{name}.npy")
    wanted = (total * len(SEVERITIES), 32, 32, 3)
    if found.shape != wanted or found.dtype != np.uint8:
        raise UserError(
            f"robustness.corrupted: {folder / name}.npy holds {found.dtype} {found.shape}; allowed is uint8 {wanted}, "
            "the official file"
        )
    return np.array(found[(severity - 1) * total + index])


def require_same_order(folder: Path, labels: np.ndarray) -> None:
    """Refuse files whose labels are not those of the test images (N,), severity by severity.

    Raises:
        UserError: they are not, so that no image could be told from another.
    """
    found = _open(folder / "labels.npy")
    if not np.array_equal(found, np.tile(labels, len(SEVERITIES))):
        raise UserError(
            f"robustness.corrupted = {folder}: its labels.npy is not in the order of this dataset's test images; "
            "allowed with dataset: cifar10 are the files of CIFAR-10-C, with cifar100 those of CIFAR-100-C; null "
            "corrupts here"
        )


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UserError(
            f"robustness.corrupted: {path} {why}; put the official file there, or set robustness.corrupted to null"
        ) from None
