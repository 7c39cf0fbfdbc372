"""Fine-tune one backbone by each method, and save what came of it. For the stages `finetune_*`."""

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from dvclive import Live
from torch import Tensor, nn

from src import feeding, files, images, models, parity, runtime, seeds, training
from src.training import Epoch

Weights = tuple[dict[str, Tensor], dict[str, Any]]  # a state_dict and its origin, as `files.read_tensors` gives them


def follow(epochs: Iterable[Epoch], model: nn.Module, folder: Path) -> tuple[list[Epoch], Epoch, dict[str, Tensor]]:
    """Log every epoch as it ends; all of them, the best by validation, and the weights that it had.

    The best is one of the last phase: what `lp_ft` keeps has been fine-tuned, however good the probe was.
    """
    history: list[Epoch] = []
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:
        for epoch in epochs:
            if all(epoch.beats(other) for other in history if other.whole == epoch.whole):
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
    weights: Weights,
    classes: Sequence[str],
    raw: np.ndarray,
    subset: dict[str, np.ndarray],
    image_size: int,
    seed: int,
    accelerator: Accelerator,
    methods: Sequence[str],
    recipe: dict[str, Any],
) -> dict[str, Any]:
    """Train by every method from the same weights and the same new head; keep of each the best epoch by validation.

    Args:
        checkpoints: the folder that gets <method>.safetensors, with the settings that made it in its header.
        curves: the folder that gets <method>/plots/metrics/{train,val}/{loss,accuracy}.tsv.
        raw: the training images (N, H, W, 3) uint8, of which `subset` holds the indices and labels.
        recipe: the settings of `training.train`.

    Returns:
        By method, what was trained, what it reached on validation images and what it took; nothing in processes other
        than the first.
    """
    data = training.Data.of(feeding.resident(raw, accelerator.device), subset)
    view = images.view(weights[1]["arch"], image_size)
    about = {**weights[1], "image_size": image_size, "classes": classes, "seed": seed, "recipe": recipe}
    if accelerator.is_main_process:
        files.write_folder(curves)
    report = {}
    for method in methods:
        model = runtime.place(new_model(weights, len(classes), seed), accelerator.device)
        if method == methods[0]:
            parity.require(model, image_size)
        epochs = training.finetune(model, data, method=method, view=view, seed=seed, accelerator=accelerator, **recipe)
        if accelerator.is_main_process:
            history, best = write_method(checkpoints, curves, model, epochs, about | {"method": method})
            report[method] = best | cost(model, history, view, accelerator)
        else:
            deque(epochs, maxlen=0)  # it learns the same; the first process writes for all
    return report


def write_method(
    checkpoints: Path, curves: Path, model: nn.Module, epochs: Iterable[Epoch], about: dict[str, Any]
) -> tuple[list[Epoch], dict[str, Any]]:
    """Train to the end and keep the best epoch's weights, with what made them in the header; every epoch, and which."""
    history, best, kept = follow(epochs, model, curves / about["method"])
    header = about | {"epoch": best.number, "history": [epoch.results() for epoch in history]}
    files.write_tensors(checkpoints / f"{about['method']}.safetensors", kept, header)
    return history, {"best_epoch": best.number, "val_accuracy": best.val_accuracy}


def cost(model: nn.Module, history: Sequence[Epoch], view: images.View, accelerator: Accelerator) -> dict[str, Any]:
    """What a method took."""
    return {
        "trained_parameters": models.parameters(model, trained=True),
        **training.cost(history, models.macs(model, view.size)),
        "peak_memory": runtime.peak_memory(accelerator.device),
        "environment": runtime.environment(accelerator),
    }


def new_model(weights: Weights, classes: int, seed: int) -> nn.Module:
    """The backbone as it was pretrained, under a new head that is the same for every method, on the CPU."""
    state, origin = weights
    return models.with_new_head(models.restore(origin["arch"], state), classes, seeds.derive(seed, "head"))
