"""Random crops and mirror images, and the images on which a training is measured after every epoch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from src.core import seeds
from src.device.prefetch import Images, moved

BLOCK = 1024  # images that are augmented at once


@dataclass(frozen=True)
class Watched:
    """Images (N, H, W, 3) uint8, an index (n,) into them, labels (n,), and whether they are augmented, ever anew."""

    images: Images
    index: np.ndarray
    labels: np.ndarray
    augmented: bool = False

    @classmethod
    def of(cls, raw: Mapping[str, Images], subset: Mapping[str, np.ndarray], watch: str) -> "Watched":
        """The validation images of a subset, or its test images.

        Args:
            raw: by split, the images.
            watch: `validation`, `test` or `augmented_test`.
        """
        part, split = ("val", "train") if watch == "validation" else ("test", "test")
        return cls(raw[split], subset[f"{part}_index"], subset[f"{part}_labels"], watch == "augmented_test")

    def at(self, seed: int, epoch: int) -> tuple[Images, np.ndarray]:
        """The images as they are measured after an epoch, and the index into them."""
        if not self.augmented:
            return self.images, self.index
        images = augmented(self.images, self.index, seeds.derive(seed, "augment test images", epoch))
        return images, np.arange(len(images))


def draw_crops(count: int, height: int, width: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random crops of `count` images that are padded by an eighth of the side; each is mirrored with probability 1/2.

    Args:
        rng: a generator on the CPU, so that every device sees the same crops.

    Returns:
        The rows (count, H) and columns (count, W) of the padded images to take, see `crop`.
    """
    pad_y, pad_x = height // 8, width // 8  # 4 pixels at 32, as is usual on CIFAR
    top = torch.randint(2 * pad_y + 1, (count, 1), generator=rng)
    left = torch.randint(2 * pad_x + 1, (count, 1), generator=rng)
    mirrored = torch.rand(count, 1, generator=rng) < 0.5
    across = torch.arange(width)
    return top + torch.arange(height), left + torch.where(mirrored, width - 1 - across, across)


def crop(batch: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Rows (N, H) and columns (N, W) of each image of a batch (N, H, W, 3) uint8, padded by an eighth with black."""
    count, height, width, _ = batch.shape
    rows, columns = (moved(part, batch.device) for part in (rows, columns))
    padded = F.pad(batch, (0, 0, width // 8, width // 8, height // 8, height // 8))  # (N, H + 2 pad, W + 2 pad, 3)
    image = torch.arange(count, device=batch.device)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]  # (N, H, W, 3)


def augmented(images: Images, index: np.ndarray, seed: int) -> np.ndarray:
    """The images (n, H, W, 3) of an index, cropped and mirrored at random like training images, in memory."""
    rng, parts = torch.Generator().manual_seed(seed), []
    for start in range(0, len(index), BLOCK):
        batch = torch.as_tensor(np.asarray(images[index[start : start + BLOCK]]))
        parts.append(crop(batch, *draw_crops(len(batch), batch.shape[1], batch.shape[2], rng)).numpy())
    return np.concatenate(parts)
