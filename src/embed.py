"""Features of a frozen backbone for all images of the dataset; subsets are taken from them later."""

import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from src.device import mps_check
from src.nets import folding, inference, models, preprocess, specialised
from src.records.embed import Embedding
from src.storage import files, resume
from src.storage.resume import StateFile


def embed(
    folder: Path,
    *,
    weights: tuple[dict[str, Tensor], dict[str, Any]],
    raw: dict[str, np.ndarray],
    image_size: int,
    normalisation: str,
    accelerator: Accelerator,
    state_file: StateFile,
) -> Embedding | None:
    """Embed all images, and return the cost; of several processes, only the first writes files and returns it.

    Args:
        folder: gets the features <split>.npy (N, D) float32, head.npz (see `pretrained_head`), and their hashes.
        weights: a state_dict and its origin, of `files.read_tensors`.
        raw: the images (N, H, W, 3) uint8 of each split.
        state_file: where the features grow, and from which an interrupted run goes on.
    """
    state, origin = weights
    model = models.restore(origin["arch"], state, image_size, needs_head=False)
    pretrained, width = pretrained_head(model, origin), models.feature_width(model)
    parameters = models.parameters(models.without_head(model))  # before batch norms are folded
    model = specialised.place(folding.fold(model), image_size, accelerator.device)
    mps_check.require(model.requires_grad_(False), image_size)
    view = preprocess.view(origin["arch"], image_size, normalisation, weights=origin["weights"])
    start = time.perf_counter()
    for split, part in raw.items():
        shown = {"accelerator": accelerator, "label": f"embed {split}"}
        compute = partial(inference.outputs, model, part, np.arange(len(part)), view=view, **shown)
        if accelerator.is_main_process:
            resume.write_rows(folder / f"{split}.npy", state_file.part(split), (len(part), width), compute)
        else:
            deque(compute(), maxlen=0)
    seconds, count = time.perf_counter() - start, sum(len(part) for part in raw.values())
    if not accelerator.is_main_process:
        return None
    files.write_arrays(folder / "head.npz", **pretrained)
    files.write_sums(folder)
    print(f"{count:,} images -> {width} features each, {count / seconds:,.0f} images/s")
    cost = models.inference_cost(model, image_size, accelerator) | {"parameters": parameters}
    return Embedding(images=count, seconds=seconds, images_per_second=count / seconds, **cost)


def pretrained_head(model: nn.Module, origin: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weight (1000, D) and bias (1000,) of a head pretrained on ImageNet-1k; empty for any other head, or none."""
    weight, bias = (part.numpy() for part in models.head(model))
    return {"weight": weight, "bias": bias} if origin["weights"] != "random" and len(weight) == 1000 else {}
