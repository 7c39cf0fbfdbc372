"""Batches of uint8 images -> augmented, resized, normalised float batches, on the device of the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# torchvision's presets for classification: the mean and deviation of ImageNet's training images, in [0, 1].
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# EfficientNet-Lite was trained on (pixel - 127) / 128, pixels in 0..255.
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


@dataclass(frozen=True)
class View:
    """How a backbone sees an image: squares of `size` pixels, normalised by channel as its pretraining did."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def view(arch: str, image_size: int) -> View:
    mean, std = LITE if arch.startswith("efficientnet_lite") else IMAGENET
    return View(image_size, mean, std)


def crop_and_flip(batch: Tensor, rng: torch.Generator) -> Tensor:
    """The report's augmentation: pad by an eighth of the side with black, crop at random, mirror every second image.

    Args:
        batch: (N, H, W, 3) uint8.
        rng: a generator on the CPU, so that every device sees the same crops.
    """
    count, height, width, _ = batch.shape
    pad_y, pad_x = height // 8, width // 8  # 4 pixels at 32, as is usual on CIFAR
    top = torch.randint(2 * pad_y + 1, (count, 1), generator=rng)
    left = torch.randint(2 * pad_x + 1, (count, 1), generator=rng)
    mirrored = torch.rand(count, 1, generator=rng) < 0.5
    across = torch.arange(width)
    rows = top + torch.arange(height)  # (N, H), into the padded image
    columns = left + torch.where(mirrored, width - 1 - across, across)  # (N, W)
    padded = F.pad(batch, (0, 0, pad_x, pad_x, pad_y, pad_y))  # (N, H + 2 pad, W + 2 pad, 3)
    index = (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    return padded[tuple(part.to(batch.device) for part in index)]  # (N, H, W, 3)


def to_input(batch: Tensor, view: View) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, size, size) float32, resized by bilinear interpolation, normalised."""
    images = batch.permute(0, 3, 1, 2).float()  # (N, 3, H, W), channels last in memory
    if images.device.type == "mps":  # where that layout is slow, see runtime.place
        images = images.contiguous()
    if images.shape[2:] != (view.size, view.size):
        images = F.interpolate(images, (view.size, view.size), mode="bilinear", antialias=True)
    mean = images.new_tensor(view.mean).view(1, 3, 1, 1) * 255
    std = images.new_tensor(view.std).view(1, 3, 1, 1) * 255
    return (images - mean) / std
