"""Fine-tune one backbone by each method, and save what came of it. For the stages `finetune_*`."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dvclive import Live
from torch import Tensor, nn

from src import files, images, models, runtime, seeds, training
from src.training import Epoch


def follow(epochs: Iterable[Epoch], model: nn.Module, folder: Path) -> tuple[list[Epoch], Epoch, dict[str, Tensor]]:
    """Log every epoch as it ends; all of them, the best by validation, and the weights that it had."""
    history: list[Epoch] = []
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:
        for epoch in epochs:
            if all(epoch.beats(other) for other in history):
                best, kept = epoch, {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            history.append(epoch)
            live.step = epoch.number
            for part, kind in itertools.product(("train", "val"), ("loss", "accuracy")):
                live.log_metric(f"{part}/{kind}", getattr(epoch, f"{part}_{kind}"))
            live.make_summary()
            print(epoch, flush=True)
    return history, best, kept


def write_finetuned(
    checkpoints: Path,
    curves: Path,
    *,
    weights: tuple[dict[str, Tensor], dict[str, Any]],
    classes: Sequence[str],
    raw: np.ndarray,
    subset: dict[str, np.ndarray],
    image_size: int,
    seed: int,
    device: torch.device,
    methods: Sequence[str],
    recipe: dict[str, Any],
) -> dict[str, Any]:
    """Train by every method from the same weights and the same new head; keep of each the best epoch by validation.

    Args:
        checkpoints: the folder that gets <method>.safetensors, with the settings that made it in its header.
        curves: the folder that gets <method>/plots/metrics/{train,val}/{loss,accuracy}.tsv.
        weights: a state_dict and its origin, as `files.read_tensors` gives them.
        raw: the training images (N, H, W, 3) uint8, of which `subset` holds the indices and labels.
        recipe: the settings of `training.train`.

    Returns:
        By method, what was trained, what it reached on validation images and what it took.
    """
    state, origin = weights
    view = images.view(origin["arch"], image_size)
    data = training.Data(raw, *(subset[part] for part in ("train_index", "train_labels", "val_index", "val_labels")))
    files.write_folder(curves)
    report = {}
    for method in methods:
        head_seed = seeds.derive(seed, "head")
        model = models.with_new_head(models.restore(origin["arch"], state), len(classes), head_seed)
        epochs = training.finetune(runtime.place(model, device), data, method=method, view=view, seed=seed, **recipe)
        history, best, kept = follow(epochs, model, curves / method)
        about = {**origin, "method": method, "image_size": image_size, "classes": classes, "seed": seed}
        about |= {"recipe": recipe, "epoch": best.number, "history": [epoch.results() for epoch in history]}
        files.write_tensors(checkpoints / f"{method}.safetensors", kept, about)
        report[method] = {
            "best_epoch": best.number,
            "val_accuracy": best.val_accuracy,
            "trained_parameters": models.parameters(model, trained=True),
            **training.cost(history, models.macs(model, image_size)),
            "peak_memory": runtime.peak_memory(device),
            "environment": runtime.environment(device),
        }
    return report
