"""Augmentation of a training batch by torchvision's own transforms; crops and mirror images are in `nets.crops`.

torchvision draws once for all images that it is given, and from PyTorch's global generator. A batch is therefore cut
into groups with a draw of their own, and the generator is set to the seed of that batch and restored afterwards: the
augmentation of a batch does not depend on the batches before it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from src.finetune.config import Finetune

# Groups of a batch. A policy takes one core of an AMD EPYC 1 to 2 ms for 64 images of 32 pixels in one group, 3 to 5 ms
# in 8 groups, and 24 to 40 ms image by image; EfficientNet-Lite0 learns from them in 170.
GROUPS = 8


def apply_policy(batch: Tensor, policy: str) -> Tensor:
    """RandAugment (Cubuk et al. 2020) or the wide TrivialAugment (Müller and Hutter 2021) of (N, H, W, 3) uint8.

    On MPS this runs on the CPU: the convolution by which torchvision sharpens takes a view as its kernel and may be
    wrong for all images but the first (pytorch#169342), and batches of several shapes leak memory.
    """
    if policy == "none":
        return batch
    images = batch.cpu() if batch.device.type == "mps" else batch
    images = _by_groups(_transform(policy), images.permute(0, 3, 1, 2))
    return images.permute(0, 2, 3, 1).contiguous().to(batch.device)


def erase_and_mix(inputs: Tensor, labels: Tensor, classes: int, config: Finetune) -> tuple[Tensor, Tensor]:
    """Random erasing (Zhong et al. 2020), then MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019).

    Erased rectangles become 0, the mean. Every image is mixed with its neighbour in the batch, in a proportion that the
    batch shares.

    Args:
        inputs: (N, 3, S, S), normalised.
        labels: (N,) in 0..K-1.

    Returns:
        The inputs, in the same memory layout, and the labels: (N, K) with rows that sum to 1 where images were mixed.
    """
    if config.erasing:
        inputs = _by_groups(_transform("erasing", p=config.erasing), inputs)
    if config.mix != "none":
        inputs, labels = _transform(config.mix, alpha=config.mix_alpha, num_classes=classes)(inputs, labels)
    return inputs, labels


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """In the block the CPU's global generator, from which torchvision draws on every device, starts from a seed."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would set those of the GPUs too
    try:
        yield
    finally:
        torch.set_rng_state(before)


@cache
def _transform(name: str, **options: Any) -> Callable[..., Any]:
    from torchvision.transforms import v2  # takes a second

    return {
        "randaugment": v2.RandAugment,
        "trivialaugment": v2.TrivialAugmentWide,
        "erasing": v2.RandomErasing,
        "mixup": v2.MixUp,
        "cutmix": v2.CutMix,
    }[name](**options)


def _by_groups(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.cat([transform(group) for group in images.chunk(GROUPS)])
