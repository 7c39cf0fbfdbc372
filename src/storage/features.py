"""The features of a frozen backbone: rows of the images that the experiment reads, with their positions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.core.errors import UserError
from src.storage import files
from src.storage.rows import Row

SPLITS = ("train", "test")
Found = tuple[list[bytes], dict[bytes, Row]]


@dataclass(frozen=True)
class ImageRows:
    """Rows (n, D) of n images of a split, and the images' sorted positions (n,) in it."""

    index: np.ndarray
    rows: np.ndarray

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """The rows (m, D) of the images at some positions (m,).

        Raises:
            UserError: an image was not embedded.
        """
        found = np.searchsorted(self.index, positions)
        known = np.append(self.index, -1)[found] == positions
        if not known.all():
            which = positions[~known][0]
            raise UserError(
                f"image {which} has no features, as these are of another subset; `dvc repro` makes them anew"
            )
        return self.rows[found]


def place(folder: Path, split: str) -> tuple[Path, Path]:
    """The files of the positions and of the rows of a split."""
    return folder / f"{split}_index.npy", folder / f"{split}.npy"


@dataclass
class Cost:
    """What rows cost when they were computed: seconds, and the peak memory in bytes."""

    seconds: float = 0.0
    memory: int = 0


def write(folder: Path, parts: Mapping[str, tuple[np.ndarray, Iterable[Found]]], width: int) -> Cost:
    """Write the features of each split, and return what they cost.

    Args:
        parts: the sorted positions (n,) of its images; and their sources piece by piece, with the rows of a store.

    Raises:
        UserError: a row is not in the store.
    """
    cost = Cost()
    for split, (index, found) in parts.items():
        of_index, of_rows = place(folder, split)
        files.write_array(of_index, [index], index.shape, "int64")
        files.write_array(of_rows, _blocks(found, cost), (len(index), width), "float32")
    return cost


def _blocks(found: Iterable[Found], cost: Cost) -> Iterator[np.ndarray]:
    for sources, rows in found:
        if not rows.keys() >= set(sources):
            raise UserError("features that were there are gone or damaged; the same command embeds them again")
        chosen = [rows[source] for source in sources]
        cost.seconds += sum(row.seconds for row in chosen)
        cost.memory = max(cost.memory, *(row.memory for row in chosen))
        yield np.frombuffer(b"".join(row.data for row in chosen), np.float32).reshape(len(chosen), -1)


def read_features(folder: Path) -> tuple[dict[str, ImageRows], dict[str, np.ndarray]]:
    """The features of both splits, from memory maps, and the pretrained head, see `embed.pretrained_head`.

    Raises:
        UserError: a file is missing, or its bytes changed.
    """
    files.require_sums(folder)
    features = {split: ImageRows(*map(files.read_array, place(folder, split))) for split in SPLITS}
    return features, files.read_arrays(folder / "head.npz")
