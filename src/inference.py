"""Run a network over images: logits of a classifier, features of a headless backbone."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from src.images import View, to_input

BATCH = 256  # large enough to fill a device, small enough for 2 GB at 224 pixels
# On the CPU so many pixels: what a layer of a larger batch puts out exceeds the 32 MB above which the C library returns
# memory at once, and the next batch pays for its pages again. Images per second of one core, by batches of 256 and of
# this size: EfficientNet-Lite0 121 and 293 at 64 pixels, 28 and 61 at 128; ConvNeXt-Tiny 61 and 76 at 64.
CPU_PIXELS = 2**17


def gather(images: np.ndarray, index: np.ndarray, device: torch.device) -> Tensor:
    """The chosen images of a (memory-mapped) array (N, H, W, 3) uint8, as a tensor on the device."""
    return torch.from_numpy(np.ascontiguousarray(images[index])).to(device)


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


def predict(model: nn.Module, images: np.ndarray, index: np.ndarray, *, view: View, label: str = "") -> np.ndarray:
    """All of `outputs` as one array: logits (n, K) float32."""
    return np.concatenate(list(outputs(model, images, index, view=view, label=label)))


@torch.inference_mode()
def outputs(
    model: nn.Module, images: np.ndarray, index: np.ndarray, *, view: View, label: str = ""
) -> Iterator[np.ndarray]:
    """The network's outputs in evaluation mode, batch by batch: (b, D) float32, in the order of `index`.

    Args:
        images: (N, H, W, 3) uint8.
        index: (n,) which of them.
        label: names the progress bar; without it, or where nobody looks at a terminal, none is drawn.
    """
    model.eval()
    device = next(model.parameters()).device
    parts = list(batches(index, batch_size(view.size, device)))
    for part, count in tqdm(parts, label, unit="batch", leave=False, disable=None if label else True):
        yield model(to_input(gather(images, part, device), view))[:count].float().cpu().numpy()
