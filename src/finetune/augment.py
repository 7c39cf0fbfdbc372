"""What is done to a training batch besides crops: torchvision's own transforms, by the batch.

torchvision draws once for all images that it is given, and from PyTorch's global generator. A batch is therefore cut
into groups with a draw of their own, and the generator is set to the seed of that batch and put back afterwards: what
a batch becomes does not depend on those before it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Of a batch. A policy takes one core of an AMD EPYC 1 to 2 ms for 64 images of 32 pixels that are one group, 3 to 5 ms
# for 8 groups, and 24 to 40 ms image by image; EfficientNet-Lite0 learns from them in 170.
GROUPS = 8


@dataclass(frozen=True)
class Augmentation:
    """Which transforms: the settings of `finetune` by the same names. `crops` is its `augment`, see `images.crop`."""

    crops: bool = True
    policy: str = "none"
    erasing: float = 0.0
    mix: str = "none"
    mix_alpha: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether a batch must be whole to be augmented, as groups and pairs reach over it."""
        return self.policy != "none" or self.erasing > 0 or self.mix != "none"

    def pixels(self, batch: Tensor) -> Tensor:
        """The policy on (N, H, W, 3) uint8, before it is resized: RandAugment (Cubuk et al. 2020), or TrivialAugment in
        its wide form (Müller and Hutter 2021).

        On the CPU for MPS, where the convolution by which torchvision sharpens, with a view as its kernel, may be wrong
        for all images but the first (pytorch#169342), and batches of several shapes leak memory.
        """
        if self.policy == "none":
            return batch
        images = batch.cpu() if batch.device.type == "mps" else batch
        images = _grouped(_transform(self.policy), images.permute(0, 3, 1, 2))
        return images.permute(0, 2, 3, 1).contiguous().to(batch.device)

    def inputs(self, inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Erasing (Zhong et al. 2020), by which rectangles become 0, the mean; then MixUp (Zhang et al. 2018) or CutMix
        (Yun et al. 2019) of every image with its neighbour in the batch, in a proportion that the batch shares.

        Args:
            inputs: (N, 3, S, S), normalised.
            labels: (N,) in 0..K-1.

        Returns:
            The inputs, in the same layout in memory, and the labels: (N, K) that sum to 1 where images were mixed.
        """
        if self.erasing:
            inputs = _grouped(_transform("erasing", p=self.erasing), inputs)
        if self.mix != "none":
            inputs, labels = _transform(self.mix, alpha=self.mix_alpha, num_classes=classes)(inputs, labels)
        return inputs, labels


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Inside, the CPU's global generator, from which torchvision draws on every device, starts from a seed."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would set those of the GPUs too
    try:
        yield
    finally:
        torch.set_rng_state(before)


@cache
def _transform(name: str, **how: Any) -> Callable[..., Any]:
    from torchvision.transforms import v2  # takes a second

    return {
        "randaugment": v2.RandAugment,
        "trivialaugment": v2.TrivialAugmentWide,
        "erasing": v2.RandomErasing,
        "mixup": v2.MixUp,
        "cutmix": v2.CutMix,
    }[name](**how)


def _grouped(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.cat([transform(group) for group in images.chunk(GROUPS)])


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
