"""Bring images to the device batch by batch, ahead of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from src.storage.raw import StoredImages

AHEAD = 4  # batches that a thread reads in advance
RESIDENT_SHARE = 0.25  # of the device's memory that all images may take, since the network needs the rest

Item = TypeVar("Item")
Result = TypeVar("Result")
OnHost = np.ndarray | StoredImages  # (N, H, W, 3) uint8, in memory or in a file
Images = OnHost | Tensor  # or on the device


def resident(images: OnHost, device: torch.device) -> Images:
    """All images on the device if they take a small share of its memory, else as they are.

    On the CPU they stay in their file, of which the system caches what fits.
    """
    if device.type == "cpu" or images.nbytes > RESIDENT_SHARE * _memory(device):
        return images
    return torch.from_numpy(np.asarray(images)).to(device)


def _memory(device: torch.device) -> int:
    """Bytes that are free on CUDA, or that MPS recommends to use at most."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return torch.mps.recommended_max_memory()


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device; a copy to CUDA overlaps with what the host does next.

    One to MPS does not: it may still read a source that is gone, and change numbers silently (pytorch#189690).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def gathered(images: Images, parts: Iterable[np.ndarray], device: torch.device) -> Iterator[Tensor]:
    """For each part, an index (B,) into all images, the images (B, H, W, 3) uint8 on the device.

    Images in memory or in a file are read by a thread some batches ahead, so that memory does not grow with their
    number.
    """
    if isinstance(images, Tensor):
        for part in parts:
            yield images[moved(torch.from_numpy(part), device)]
        return
    for batch in ahead(_reader(images, pin=device.type == "cuda"), parts):
        yield moved(batch, device)


def ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map(read, items)` in order, computed by a thread up to `AHEAD` items in advance."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append(thread.submit(read, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _reader(images: OnHost, *, pin: bool) -> Callable[[np.ndarray], Tensor]:
    """A function that gathers images on the host; with `pin`, the copy to a GPU overlaps with its work."""

    def read(index: np.ndarray) -> Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(images[index]))
        return batch.pin_memory() if pin else batch

    return read
