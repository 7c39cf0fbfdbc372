"""What the stage `download` leaves, of images that a test makes up."""

from collections.abc import Mapping, Sequence

import numpy as np

from src.storage import files, raw


def write_raw(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]], classes: Sequence[str], said: Sequence[str] = ()
) -> None:
    """Write `data/raw` in this folder.

    Args:
        splits: by split, images (N, H, W, 3) uint8 and labels (N,).
        said: of duplicates.
    """
    for split, (images, labels) in splits.items():
        raw.write_images(raw.images_path(split), [images], images.shape)
        files.write_array(raw.labels_path(split), [labels], labels.shape, "int64")
    files.write_json(raw.CLASSES, list(classes))
    files.write_json(raw.DUPLICATES, {"train": [], "test": [], "said": list(said)})
    raw.write_sums()
