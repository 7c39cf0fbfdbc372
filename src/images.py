"""Batches of uint8 images -> augmented, resized, normalised float batches, on the device of the batch."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from src import libraries


@dataclass(frozen=True)
class View:
    """How a backbone sees an image: squares of `size` pixels, resized and normalised by channel as for pretraining."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"


def view(arch: str, image_size: int) -> View:
    """What the library that publishes the weights says of them."""
    return View(image_size, *libraries.normalisation(arch))


def draw_crops(count: int, height: int, width: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The report's augmentation for each of `count` images: pad by an eighth of the side, crop, mirror every second.

    Args:
        rng: a generator on the CPU, so that every device sees the same crops.

    Returns:
        Which rows (count, H) and columns (count, W) of the padded images to take, see `crop`.
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
    rows, columns = (part.to(batch.device, non_blocking=True) for part in (rows, columns))
    padded = F.pad(batch, (0, 0, width // 8, width // 8, height // 8, height // 8))  # (N, H + 2 pad, W + 2 pad, 3)
    image = torch.arange(count, device=batch.device)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]  # (N, H, W, 3)


def to_input(batch: Tensor, view: View) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, size, size) float32, normalised, and resized as the view says."""
    count, height, width, _ = batch.shape
    scale, offset = _affine(view, width, batch.device)
    # Row by row: a CPU takes 0.1 ms for 128 images of 32 pixels, and 0.8 ms for three channels at a time.
    rows = batch.reshape(count, height, width * 3).float().mul_(scale).add_(offset)
    images = rows.view(count, height, width, 3).permute(0, 3, 1, 2)  # (N, 3, H, W), channels last in memory
    if images.device.type == "mps":  # where that layout is slow, see runtime.place
        images = images.contiguous()
    if (height, width) != (view.size, view.size):
        images = F.interpolate(images, (view.size, view.size), mode=view.interpolation, antialias=True)
    return images


@cache
def _affine(view: View, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(pixel / 255 - mean) / std as pixel * scale + offset, for a row of pixels: each (W * 3,), on the device."""
    mean, std = (torch.tensor(part).repeat(width) for part in (view.mean, view.std))
    return (1 / (255 * std)).to(device), (-mean / std).to(device)
