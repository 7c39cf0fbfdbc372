"""Too little memory: the batch with which one goes on."""

import gc

import torch

from src.core.errors import UserError, is_out_of_memory


def halved(error: Exception, batch: int, *, image_size: int, device: torch.device, processes: int = 1) -> int:
    """Half of a batch that did not fit, with a line that says so.

    Outputs of another batch may differ in their last digits, hence the line.

    Raises:
        UserError: one image does not fit; or there are several processes, which need batches of one size.
        Exception: `error` itself, if it is another one.
    """
    if not is_out_of_memory(error):
        raise error
    if batch == 1 or processes > 1:
        images = "1 image" if batch == 1 else f"{batch} images in each of {processes} processes"
        raise UserError(f"image_size = {image_size}: out of memory on {device.type} with {images}; try a smaller one")
    print(f"out of memory on {device.type} with batches of {batch} images; goes on with {batch // 2}", flush=True)
    return batch // 2


def free(device: torch.device) -> None:
    """Give back what a batch that did not fit has left, once nothing refers to its error."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
