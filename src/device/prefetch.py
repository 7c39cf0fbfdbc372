"""Images from where they lie to the device, batch by batch, ahead of the network."""

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

AHEAD = 4  # batches that a thread reads before they are asked for
SHARE = 0.25  # of the device's memory; what is larger stays where it is, since the network needs the rest
RELEASE = 2**27  # bytes of a file that may be mapped into memory before all of it is given back
AROUND = 2**16  # bytes that Linux maps around each place that is read

Item = TypeVar("Item")
Result = TypeVar("Result")
Images = np.ndarray | Tensor  # (N, H, W, 3) uint8, in memory or mapped from a file; or on the device


def resident(images: np.ndarray, device: torch.device) -> Images:
    """All images on the device, from where they are gathered in no time, if they take a small part of its memory.

    The CPU gathers them from the file's map, where the system keeps what fits.
    """
    if device.type == "cpu" or images.nbytes > SHARE * _memory(device):
        return images
    return torch.from_numpy(np.array(images)).to(device)  # a copy, as PyTorch warns of arrays that are only mapped


def _memory(device: torch.device) -> int:
    """Bytes that are free on CUDA, or that MPS may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return torch.mps.recommended_max_memory()


def gathered(images: Images, parts: Iterable[np.ndarray], device: torch.device) -> Iterator[Tensor]:
    """The chosen images on the device, (B, H, W, 3) uint8 for each part, an index (B,) into all images.

    Those that do not lie there are read by a thread some batches ahead, however many they are: memory does not grow
    with them.
    """
    if isinstance(images, Tensor):
        for part in parts:
            yield images[torch.from_numpy(part).to(device, non_blocking=True)]
        return
    for batch in ahead(_reader(images, pin=device.type == "cuda"), parts):
        yield batch.to(device, non_blocking=True)


def ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map(read, items)` in order, by a thread that is up to `AHEAD` items in front of who consumes them."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append(thread.submit(read, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _reader(images: np.ndarray, *, pin: bool) -> Callable[[np.ndarray], Tensor]:
    """What gathers images on the host; `pin` lets the copy to a GPU go on beside its work.

    Pages of a mapped file count as this process's memory until they are given back; the system may keep them still.
    """
    mapped = images.base if isinstance(images.base, mmap.mmap) else None
    unreleased = 0

    def read(index: np.ndarray) -> Tensor:
        nonlocal unreleased
        batch = torch.from_numpy(np.ascontiguousarray(images[index]))
        unreleased += batch.nbytes + AROUND * len(index)
        if mapped is not None and unreleased > RELEASE:
            mapped.madvise(mmap.MADV_DONTNEED)
            unreleased = 0
        return batch.pin_memory() if pin else batch

    return read
