"""What the machine at hand can do, and the limit that this sets for a work: a roofline of two numbers.

Work takes at least as long as its arithmetic at the machine's rate of a large matrix product, and as moving its bytes
once at the rate of a copy through memory (Williams, Waterman and Patterson 2009). The arithmetic is what the network
needs: taps that see a pixel, twice as much again for the backward pass. The bytes are those that no cache can spare:
images, weights, and in training their gradients and moments. Activations are left out, since a cache may hold them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from src.nets import models

SIDE = 2048  # of the matrices
COPIED = 2**28  # bytes, several times what caches hold
REPEATS = 9
FLOAT = 4  # bytes of a weight, whatever the precision of the arithmetic
# How often training moves each weight: read forward, backward and by the optimizer, and written; its gradient written
# and read; two moments read and written.
MOVES = 10


@dataclass(frozen=True)
class Rates:
    """Multiply-accumulates per second of a large matrix product, and bytes per second read and written by a copy."""

    macs: float
    bytes: float

    def __str__(self) -> str:
        return f"{2 * self.macs / 1e9:,.0f} GFLOP/s, {self.bytes / 1e9:,.1f} GB/s"


@dataclass(frozen=True)
class Limit:
    """The least seconds for an image, by arithmetic and by memory."""

    arithmetic: float
    memory: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return 1 / max(self.arithmetic, self.memory)

    @property
    def by(self) -> str:
        """What sets the limit."""
        return "arithmetic" if self.arithmetic >= self.memory else "memory"


def rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure both; the best of some repeats, since other load can only slow them."""
    left, right = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(COPIED // FLOAT, device=device)
    target = torch.empty_like(source)
    product = _best(lambda: left @ right, device)
    return Rates(SIDE**3 / product, 2 * COPIED / _best(lambda: target.copy_(source), device))


def _best(work: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds of the fastest repeat."""
    work()
    return min(timed(device, work) for _ in range(REPEATS))


def timed(device: torch.device, work: Callable[[], Any]) -> float:
    """Seconds until the device has finished the work."""

    def now() -> float:
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        return time.perf_counter()

    start = now()
    work()
    return now() - start


def limit(model: nn.Module, image_size: int, batch: int, machine: Rates, *, train: bool) -> Limit:
    """The limit of a specialised network for batches of `batch` images."""
    macs = models.executed_macs(model, image_size) * (3 if train else 1)
    weights = sum(parameter.numel() for parameter in model.parameters()) * FLOAT * (MOVES if train else 1)
    image = 3 * image_size**2 * FLOAT
    return Limit(macs / machine.macs, (weights / batch + image) / machine.bytes)
