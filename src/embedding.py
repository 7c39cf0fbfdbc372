"""A frozen backbone's features of every image, whatever the subset. For the stages `embed_*`."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src import files, images, inference, models, runtime


def write_features(
    folder: Path,
    *,
    weights: tuple[dict[str, Tensor], dict[str, Any]],
    raw: dict[str, np.ndarray],
    image_size: int,
    device: torch.device,
) -> dict[str, Any]:
    """Embed every image once.

    Args:
        folder: gets <split>.npy of features (N, D) float32, and head.npz, see `pretrained_head`.
        weights: a state_dict and its origin, as `files.read_tensors` gives them.
        raw: by split, the images (N, H, W, 3) uint8.

    Returns:
        What it took.
    """
    state, origin = weights
    model = models.restore(origin["arch"], state)
    files.write_arrays(folder / "head.npz", **pretrained_head(model, origin))
    width = models.feature_width(model)
    model = runtime.place(models.without_head(model), device)
    view = images.view(origin["arch"], image_size)
    start = time.perf_counter()
    for split, part in raw.items():
        blocks = inference.outputs(model, part, np.arange(len(part)), view=view, label=f"embed {split}")
        files.write_array(folder / f"{split}.npy", blocks, (len(part), width), "float32")
    seconds, count = time.perf_counter() - start, sum(len(part) for part in raw.values())
    print(f"{count:,} images -> {width} features each, {count / seconds:,.0f} images/s")
    return {
        "images": count,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "parameters": models.parameters(model),
        "macs": models.macs(model, image_size),
        "peak_memory": runtime.peak_memory(device),
        "environment": runtime.environment(device),
    }


def pretrained_head(model: nn.Module, origin: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weight (1000, D) and bias (1000,) of a head that knows ImageNet's categories; nothing where it does not."""
    weight, bias = (part.numpy() for part in models.head(model))
    return {"weight": weight, "bias": bias} if origin["weights"] != "random" and len(weight) == 1000 else {}
