"""Which batch would have fit, where one did not. For the training loop."""

import gc
from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn
from torch.nn import functional as F


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or should_reduce_batch_size(error)


def largest(fits: Callable[[int], bool], size: int) -> int:
    """The largest of size / 2, size / 4, ... that fits; 0 where not even 1 does."""
    while size > 1:
        size //= 2
        if fits(size):
            return size
    return 0


def learns(model: nn.Module, pixels: int, device: torch.device, size: int) -> bool:
    """Whether a network can take a batch of so many images forward and backward. Its gradients are lost."""
    model.zero_grad(set_to_none=True)
    gc.collect()  # what the failed attempt left behind
    clear_device_cache()
    try:
        inputs: Tensor = torch.zeros(size, 3, pixels, pixels, device=device)
        F.cross_entropy(model(inputs), torch.zeros(size, dtype=torch.long, device=device)).backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def advice(model: nn.Module, pixels: int, device: torch.device, size: int) -> str:
    """One line for a batch of `size` images that did not fit."""
    found = largest(lambda smaller: learns(model, pixels, device, smaller), size)
    told = f"{found} fits" if found else "not even 1 image fits; try a smaller image_size"
    return f"finetune.batch_size = {size}: out of memory on {device.type}; {told}"
