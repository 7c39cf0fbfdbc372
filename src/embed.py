"""A frozen backbone's features of every image, whatever the subset."""

import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from src.device import mps_check
from src.nets import fast_cpu, inference, models, preprocess
from src.storage import files, resume
from src.storage.resume import StateFile


def embed(
    folder: Path,
    *,
    weights: tuple[dict[str, Tensor], dict[str, Any]],
    raw: dict[str, np.ndarray],
    image_size: int,
    accelerator: Accelerator,
    place: StateFile,
) -> dict[str, Any]:
    """Embed every image once, and say what it took; nothing in processes other than the first.

    Args:
        folder: gets <split>.npy of features (N, D) float32, head.npz, see `pretrained_head`, and the hashes of these.
        weights: a state_dict and its origin, as `files.read_tensors` gives them.
        raw: by split, the images (N, H, W, 3) uint8.
        place: where to save from time to time, and to go on from.
    """
    state, origin = weights
    model = models.restore(origin["arch"], state, image_size)
    pretrained, width = pretrained_head(model, origin), models.feature_width(model)
    model = fast_cpu.to_device(fast_cpu.fold(models.without_head(model)), accelerator.device)
    mps_check.require(model.requires_grad_(False), image_size)
    how = {"view": preprocess.view(origin["arch"], image_size), "accelerator": accelerator}
    start = time.perf_counter()
    for split, part in raw.items():
        compute = partial(inference.outputs, model, part, np.arange(len(part)), label=f"embed {split}", **how)
        if accelerator.is_main_process:
            resume.write_rows(folder / f"{split}.npy", place.part(split), (len(part), width), compute)
        else:
            deque(compute(), maxlen=0)  # it computes its share; the first process writes for all
    seconds, count = time.perf_counter() - start, sum(len(part) for part in raw.values())
    if not accelerator.is_main_process:
        return {}
    files.write_arrays(folder / "head.npz", **pretrained)
    files.write_sums(folder)
    took = {"images": count, "seconds": seconds, "images_per_second": count / seconds}
    print(f"{count:,} images -> {width} features each, {took['images_per_second']:,.0f} images/s")
    return took | models.inference_cost(model, image_size, accelerator)


def pretrained_head(model: nn.Module, origin: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weight (1000, D) and bias (1000,) of a head that knows ImageNet's categories; nothing where it does not."""
    weight, bias = (part.numpy() for part in models.head(model))
    return {"weight": weight, "bias": bias} if origin["weights"] != "random" and len(weight) == 1000 else {}
