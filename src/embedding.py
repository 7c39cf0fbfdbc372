"""A frozen backbone's features of every image, whatever the subset. For the stages `embed_*`."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
        folder: gets <split>.npy of features (N, D) float32, and head.npz: the pretrained head's weight (1000, D) and
            bias (1000,), or nothing where the weights came from chance or know other categories than ImageNet's.
        weights: a state_dict and its origin, as `files.read_tensors` gives them.
        raw: by split, the images (N, H, W, 3) uint8.

    Returns:
        What it took.
    """
    state, origin = weights
    model = models.restore(origin["arch"], state)
    weight, bias = (part.numpy() for part in models.head(model))
    known = origin["weights"] != "random" and len(weight) == 1000
    files.write_arrays(folder / "head.npz", **({"weight": weight, "bias": bias} if known else {}))
    width = models.feature_width(model)
    model = runtime.place(models.without_head(model), device)
    view = images.view(origin["arch"], image_size)
    start, count = time.perf_counter(), 0
    for split, part in raw.items():
        blocks = inference.outputs(model, part, np.arange(len(part)), view=view, label=f"embed {split}")
        files.write_array(folder / f"{split}.npy", blocks, (len(part), width), "float32")
        count += len(part)
    seconds = time.perf_counter() - start
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
