"""Run a network over images: logits of a classifier, features of a headless backbone."""

from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from src.device.prefetch import Images, gathered
from src.nets.preprocess import View, to_input

BATCH = 256  # large enough to fill a device, small enough for 2 GB at 224 pixels
# On the CPU so many pixels: what a layer of a larger batch puts out exceeds the 32 MB above which the C library returns
# memory at once, and the next batch pays for its pages again. Images per second of one core, by batches of 256 and of
# this size: EfficientNet-Lite0 121 and 293 at 64 pixels, 28 and 61 at 128; ConvNeXt-Tiny 61 and 76 at 64.
CPU_PIXELS = 2**17
FETCH = 16  # batches whose outputs stay on a device before they are fetched, since it waits for the host meanwhile


def batch_size(image_size: int, device: torch.device) -> int:
    """How many images to run at once; only the speed depends on it."""
    return BATCH if device.type != "cpu" else min(BATCH, max(8, CPU_PIXELS // image_size**2))


def batches(index: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut an index into batches of one fixed size (the last one repeats its last entry), each with its true length.

    Batch shapes that vary leak memory on MPS (pytorch#164299).
    """
    size = min(size, len(index))
    for start in range(0, len(index), size):
        part = index[start : start + size]
        yield np.pad(part, (0, size - len(part)), mode="edge"), len(part)


def rest_of(index: np.ndarray, skip: int, size: int) -> list[tuple[np.ndarray, int]]:
    """The batches of an index without those of its first `skip` entries."""
    return list(batches(index, size))[-(-skip // size) :]


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
    skip: int = 0,
) -> Iterator[np.ndarray]:
    """The network's outputs in evaluation mode, block by block: (b, D) float32, in the order of `index`.

    Several processes take the batches in turn, and each is given all outputs.

    Args:
        images: (N, H, W, 3) uint8.
        index: (n,) which of them.
        label: names the progress bar; without it, or where nobody looks at a terminal, none is drawn.
        skip: so many outputs are there already, of whole blocks.
    """
    model.eval()
    device, processes = accelerator.device, accelerator.num_processes
    parts = rest_of(index, skip, batch_size(view.size, device))
    turns = range(0, len(parts), processes)
    # Where there is nothing left for a process in the last turn, it repeats a batch: all of them have to take part.
    mine = (parts[min(turn + accelerator.process_index, len(parts) - 1)][0] for turn in turns)
    waiting, done = list[Tensor](), 0
    bar = tqdm(
        gathered(images, mine, device), label, len(turns), unit="batch", leave=False, disable=None if label else True
    )
    for batch in bar:
        with accelerator.autocast():
            found = model(to_input(batch, view)).float()
        waiting.extend(accelerator.gather(found).chunk(processes))
        if len(waiting) >= FETCH * processes or device.type == "cpu":
            yield _fetch(waiting, parts[done : done + len(waiting)])
            done, waiting = done + len(waiting), []
    if waiting:
        yield _fetch(waiting, parts[done:])


def _fetch(found: list[Tensor], parts: list[tuple[np.ndarray, int]]) -> np.ndarray:
    """Batches of outputs as one block on the host, without what filled up the last one."""
    return torch.cat([rows[:count] for rows, (_, count) in zip(found, parts, strict=False)]).cpu().numpy()
