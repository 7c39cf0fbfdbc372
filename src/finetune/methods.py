"""Fine-tune one backbone by each method, and save what came of it."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from dvclive import Live
from torch import Tensor, nn

from src.core import seeds
from src.device import mps_check, runtime
from src.finetune import checkpoint, loop
from src.finetune.batches import Data
from src.finetune.checkpoint import Epoch, Progress
from src.finetune.loop import train
from src.nets import fast_cpu, models, preprocess
from src.nets.models import freeze_backbone
from src.storage import files
from src.storage.resume import StateFile

Weights = tuple[dict[str, Tensor], dict[str, Any]]  # a state_dict and its origin, as `files.read_tensors` gives them


@dataclass(frozen=True)
class Task:
    """One backbone to be trained on one subset: what all of its methods, or all trials of a search, share.

    Args:
        classes: the names of the K classes.
        recipe: the settings of `training.train`.
    """

    weights: Weights
    classes: Sequence[str]
    image_size: int
    seed: int
    data: Data
    accelerator: Accelerator
    recipe: Mapping[str, Any]

    @property
    def view(self) -> preprocess.View:
        return preprocess.view(self.weights[1]["arch"], self.image_size)

    @property
    def how(self) -> dict[str, Any]:
        """The keyword arguments of `training.train`, but for what differs from method to method."""
        return {"view": self.view, "seed": self.seed, "accelerator": self.accelerator, **self.recipe}

    def network(self) -> nn.Module:
        """A new one, on the device."""
        model = new_model(self.weights, len(self.classes), self.seed, self.image_size)
        return fast_cpu.to_device(model, self.accelerator.device)

    def cost(self, model: nn.Module, history: Sequence[Epoch]) -> dict[str, Any]:
        """What some epochs took."""
        return loop.cost(history, models.macs(model, self.view.size))


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
    checkpoints: Path, curves: Path, task: Task, *, methods: Sequence[str], place: StateFile, end: StateFile
) -> dict[str, Any]:
    """Train by every method from the same weights and the same new head; keep of each the best epoch by validation.

    Args:
        checkpoints, curves: the folders that get <method>.safetensors, and <method>/plots/metrics/{train,val}/*.tsv.
        place: where to save from time to time, and to go on from.
        end: where its end is kept, and where that of a training of fewer epochs may lie.

    Returns:
        By method, what it reached on validation images and what it took; nothing in processes other than the first.
    """
    if task.accelerator.is_main_process:
        files.write_folder(curves)
    report = {}
    for method in methods:
        model = task.network()
        if method == methods[0]:
            mps_check.require(model, task.image_size)
        progress = Progress.taken_up(place.part(method), end.part(method), task.recipe["epochs"])
        epochs = finetune(model, task.data, method=method, progress=progress, **task.how)
        if task.accelerator.is_main_process:
            if len(methods) > 1:
                print(f"by {method}:", flush=True)
            follow(epochs, model, curves / method, progress)
            write_best(checkpoints / f"{method}.safetensors", progress, task, method)
            report[method] = reached(progress, len(task.data.val_labels)) | cost(task, model, progress.history)
        else:
            deque(epochs, maxlen=0)  # it learns the same; the first process writes for all
    return report


def write_best(path: Path, progress: Progress, task: Task, method: str) -> None:
    """The best epoch's weights, with what made them and every epoch in the header."""
    made = {"image_size": task.image_size, "classes": task.classes, "seed": task.seed, "recipe": task.recipe}
    came = {"epoch": progress.best.number, "history": [epoch.results() for epoch in progress.history]}
    files.write_tensors(path, progress.kept, {**task.weights[1], **made, "method": method, **came})


def reached(progress: Progress, val_images: int) -> dict[str, Any]:
    """Which epoch was the best on validation images, how good, and what the curve says.

    The latter in a list, because DVC turns whatever a metrics file holds outside of lists into columns.
    """
    said = checkpoint.curve_verdict(progress.history, val_images)
    return {"best_epoch": progress.best.number, "val_accuracy": progress.best.val_accuracy, "convergence": [said]}


def cost(task: Task, model: nn.Module, history: Sequence[Epoch]) -> dict[str, Any]:
    """What a method took."""
    return {
        "trained_parameters": models.parameters(model, trained=True),
        **task.cost(model, history),
        "peak_memory": runtime.peak_memory(task.accelerator.device),
        "environment": runtime.environment(task.accelerator),
    }


def new_model(weights: Weights, classes: int, seed: int, image_size: int) -> nn.Module:
    """The backbone as it was pretrained, under a new head that is the same for every method, on the CPU."""
    state, origin = weights
    backbone = models.restore(origin["arch"], state, image_size)
    return models.with_new_head(backbone, classes, seeds.derive(seed, "head"))


def phases(method: str, epochs: int) -> list[tuple[bool, int]]:
    """What a method of fine-tuning trains, and for how many epochs: (the whole network?, epochs).

    `full` trains everything, `head` the new head alone. `lp_ft` (Kumar et al. 2022) first probes, then fine-tunes from
    the probe's head: it splits the same epochs between the two, so that no method is given more of them.
    """
    probe = epochs // 2
    return {
        "full": [(True, epochs)],
        "head": [(False, epochs)],
        "lp_ft": [(False, probe), (True, epochs - probe)],
    }[method]


def finetune(
    model: nn.Module, data: Data, *, method: str, epochs: int, progress: Progress, **recipe: Any
) -> Iterator[Epoch]:
    """Train in place by a method, phase after phase, each with a schedule of its own; see `train`."""
    done = 0
    for whole, count in phases(method, epochs):
        if whole:
            model.requires_grad_(True)
        else:
            freeze_backbone(model)
        if progress.point.epoch <= done + count:
            yield from train(model, data, epochs=count, first=done + 1, progress=progress, **recipe)
        done += count
