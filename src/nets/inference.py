"""Run a network over images: logits of a classifier, or features of a backbone without head."""

from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from src.device import memory
from src.device.prefetch import Images, gathered
from src.nets.preprocess import View, to_input

BATCH = 256  # large enough to fill a device, small enough for 2 GB at 224 pixels
# Pixels of a batch on the CPU. A layer's output for a larger batch exceeds the 32 MB above which the C library returns
# memory to the system at once, and the next batch has to get it again. Images per second of one core with batches of
# 256 and of this size: EfficientNet-Lite0 121 and 293 at 64 pixels, 28 and 61 at 128; ConvNeXt-Tiny 61 and 76 at 64.
CPU_PIXELS = 2**17
FETCH = 16  # batches whose outputs are fetched from a device together, since it waits for the host meanwhile


_FITTING: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()  # batches of networks for which others were too large


def batch_size(image_size: int, device: torch.device) -> int:
    """The number of images in a batch; only the speed depends on it."""
    return BATCH if device.type != "cpu" else min(BATCH, max(8, CPU_PIXELS // image_size**2))


def batches(index: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut an index into batches of one size, each with its number of distinct entries.

    The last batch is filled up with its last entry, because varying batch shapes leak memory on MPS (pytorch#164299).
    """
    for start in range(0, len(index), size):
        part = index[start : start + size]
        yield np.pad(part, (0, size - len(part)), mode="edge"), len(part)


def predict(
    model: nn.Module, images: Images, index: np.ndarray, *, view: View, accelerator: Accelerator, label: str = ""
) -> np.ndarray:
    """All of `outputs` as one array: logits (n, K) float32."""
    return np.concatenate(list(outputs(model, images, index, view=view, accelerator=accelerator, label=label)))


@torch.inference_mode()
def outputs(
    model: nn.Module,
    images: Images,
    index: np.ndarray,
    *,
    view: View,
    accelerator: Accelerator,
    label: str = "",
    full_batches: bool = False,
) -> Iterator[np.ndarray]:
    """The outputs of the network in evaluation mode, in blocks (b, D) float32 in the order of `index`.

    Several processes take the batches in turn, and each yields all outputs. A batch that does not fit in memory is
    halved, for this network from then on, and a line says so.

    Args:
        images: (N, H, W, 3) uint8.
        index: (n,) of the images to run.
        label: of the progress bar; without it, or without a terminal, there is none.
        full_batches: fill up to `batch_size` even where there are fewer images. The output of an image is then the same
            whatever the others are; a batch of another size rounds otherwise.

    Raises:
        UserError: not even one image fits.
    """
    model.eval()
    device, done = accelerator.device, 0
    size = _FITTING.get(model, batch_size(view.size, device))
    size = size if full_batches else min(size, len(index))
    while done < len(index):
        try:
            for block in _blocks(model, images, batches(index[done:], size), view, accelerator, label):
                yield block
                done += len(block)
            continue
        except (RuntimeError, MemoryError, OSError) as error:
            limits = {"image_size": view.size, "device": device, "processes": accelerator.num_processes}
            size = memory.halved(error, size, **limits)
        _FITTING[model] = size
        memory.free(device)


def _blocks(
    model: nn.Module,
    images: Images,
    cut: Iterable[tuple[np.ndarray, int]],
    view: View,
    accelerator: Accelerator,
    label: str,
) -> Iterator[np.ndarray]:
    """The outputs for batches that `batches` made."""
    parts, device, processes = list(cut), accelerator.device, accelerator.num_processes
    turns = range(0, len(parts), processes)
    # A process for which no batch is left in the last turn repeats one, because `gather` needs all processes.
    mine = (parts[min(turn + accelerator.process_index, len(parts) - 1)][0] for turn in turns)
    waiting, done = list[Tensor](), 0
    hidden = None if label else True  # None: hidden where the output is no terminal
    bar = tqdm(gathered(images, mine, device), label, len(turns), unit="batch", leave=False, disable=hidden)
    for batch in bar:
        with accelerator.autocast():
            rows = model(to_input(batch, view)).float()
        waiting.extend(accelerator.gather(rows).chunk(processes))
        if len(waiting) >= FETCH * processes or device.type == "cpu":
            yield _fetch(waiting, parts[done : done + len(waiting)])
            done, waiting = done + len(waiting), []
    if waiting:
        yield _fetch(waiting, parts[done:])


def _fetch(blocks: list[Tensor], parts: list[tuple[np.ndarray, int]]) -> np.ndarray:
    """Batches of outputs as one block on the host, without the entries that filled up the last one."""
    return torch.cat([rows[:count] for rows, (_, count) in zip(blocks, parts, strict=False)]).cpu().numpy()
