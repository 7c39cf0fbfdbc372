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

from src import convergence, feeding, files, images, models, parity, runtime, seeds, training
from src.batches import Data
from src.progress import Epoch, Progress
from src.resuming import Place

Weights = tuple[dict[str, Tensor], dict[str, Any]]  # a state_dict and its origin, as `files.read_tensors` gives them


def follow(epochs: Iterable[Epoch], model: nn.Module, folder: Path, progress: Progress) -> Progress:
    """Log every epoch as it ends, those from before an interruption too; all of them, and the best one's weights."""
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:
        for epoch in progress.history:
            log(live, epoch)
        for epoch in epochs:
            progress.add(epoch, model)
            log(live, epoch)
            print(epoch, flush=True)
    return progress


def log(live: Live, epoch: Epoch) -> None:
    live.step = epoch.number
    for part, kind in itertools.product(("train", "val"), ("loss", "accuracy")):
        live.log_metric(f"{part}/{kind}", getattr(epoch, f"{part}_{kind}"))
    live.make_summary()


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
    place: Place,
    end: Place,
) -> dict[str, Any]:
    """Train by every method from the same weights and the same new head; keep of each the best epoch by validation.

    Args:
        checkpoints, curves: the folders that get <method>.safetensors, and <method>/plots/metrics/{train,val}/*.tsv.
        raw: the training images (N, H, W, 3) uint8, of which `subset` holds the indices and labels.
        recipe: the settings of `training.train`.
        place: where to save from time to time, and to go on from.
        end: where its end is kept, and where that of a training of fewer epochs may lie.

    Returns:
        By method, what it reached on validation images and what it took; nothing in processes other than the first.
    """
    view = images.view(weights[1]["arch"], image_size)
    data = Data.of(feeding.resident(raw, accelerator.device), subset)
    how = {"data": data, "view": view, "seed": seed, "accelerator": accelerator, **recipe}
    about = {**weights[1], "image_size": image_size, "classes": classes, "seed": seed, "recipe": recipe}
    if accelerator.is_main_process:
        files.write_folder(curves)
    report = {}
    for method in methods:
        model = runtime.place(new_model(weights, len(classes), seed, image_size), accelerator.device)
        if method == methods[0]:
            parity.require(model, image_size)
        progress = Progress.taken_up(place.part(method), end.part(method), recipe["epochs"])
        epochs = training.finetune(model, method=method, progress=progress, **how)
        if accelerator.is_main_process:
            follow(epochs, model, curves / method, progress)
            write_best(checkpoints / f"{method}.safetensors", progress, about | {"method": method})
            report[method] = reached(progress, len(data.val_labels)) | cost(model, progress.history, view, accelerator)
        else:
            deque(epochs, maxlen=0)  # it learns the same; the first process writes for all
    return report


def write_best(path: Path, progress: Progress, about: dict[str, Any]) -> None:
    """The best epoch's weights, with what made them and every epoch in the header."""
    history = [epoch.results() for epoch in progress.history]
    files.write_tensors(path, progress.kept, about | {"epoch": progress.best.number, "history": history})


def reached(progress: Progress, val_images: int) -> dict[str, Any]:
    """Which epoch was the best on validation images, how good, and what the curve says.

    The latter in a list, because DVC turns whatever a metrics file holds outside of lists into columns.
    """
    said = convergence.verdict(progress.history, val_images)
    return {"best_epoch": progress.best.number, "val_accuracy": progress.best.val_accuracy, "convergence": [said]}


def cost(model: nn.Module, history: Sequence[Epoch], view: images.View, accelerator: Accelerator) -> dict[str, Any]:
    """What a method took."""
    return {
        "trained_parameters": models.parameters(model, trained=True),
        **training.cost(history, models.macs(model, view.size)),
        "peak_memory": runtime.peak_memory(accelerator.device),
        "environment": runtime.environment(accelerator),
    }


def new_model(weights: Weights, classes: int, seed: int, image_size: int) -> nn.Module:
    """The backbone as it was pretrained, under a new head that is the same for every method, on the CPU."""
    state, origin = weights
    backbone = models.restore(origin["arch"], state, image_size)
    return models.with_new_head(backbone, classes, seeds.derive(seed, "head"))
