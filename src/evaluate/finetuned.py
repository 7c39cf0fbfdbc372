"""One backbone's fine-tuned arms on the test images."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from src.core import design
from src.device import mps_check
from src.evaluate import arm
from src.nets import fast_cpu, inference, models, preprocess
from src.records.evaluate import Evaluation, Evaluations
from src.records.finetune import Training, Trainings
from src.storage import files

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]  # a state_dict and its header, as `files.read_tensors` gives them
# Fields of a training that its arm has too.
TRAINING = {"trained_parameters", "train_macs", "train_seconds", "peak_memory", "convergence"}


def evaluate(
    folder: Path,
    figures: Path,
    *,
    role: str,
    checkpoints: Mapping[str, Checkpoint],
    trainings: Trainings,
    raw: Mapping[str, np.ndarray],
    subset: Mapping[str, np.ndarray],
    accelerator: Accelerator,
) -> Evaluations:
    """Predict the test images by every checkpoint, and save predictions, tables and figures.

    Args:
        folder: gets <method>.npz.
        figures: the folder that gets tables and figures.
        checkpoints: by method.
        raw: by split, the images (N, H, W, 3) uint8, of which `subset` holds the indices and labels.

    Returns:
        The evaluation of every method; of none in processes other than the first.
    """
    arms: dict[str, Evaluation] = {}
    for number, (method, (state, header)) in enumerate(checkpoints.items()):
        arch, size = header["arch"], header["image_size"]
        model = fast_cpu.to_device(models.restore(arch, state, size), accelerator.device)
        if number == 0:
            mps_check.require(model.requires_grad_(False), size)
        predictions, seconds = predict(model, preprocess.view(arch, size), raw, subset, accelerator)
        if not accelerator.is_main_process:
            continue  # it predicted its share; the first process writes for all
        title = design.title(f"{role}.{method}", f"{arch} ({header['weights']} weights)")
        scores = arm.write_arm(folder, figures, method, title, predictions, header["classes"])
        training = trainings.methods[method]
        write_curves(figures / "pictures" / f"curves_{method}.png", title, header, training)
        cost = models.inference_cost(model, size, accelerator) | training.model_dump(include=TRAINING)
        arms[method] = Evaluation(**dict(scores), **cost, seconds=seconds, images_per_second=scores.n / seconds)
        print(f"{role}.{method}: accuracy {scores.accuracy:.4f} on {scores.n:,} test images")
    return Evaluations(arms=arms)


def write_curves(path: Path, title: str, header: Mapping[str, Any], training: Training) -> None:
    """Draw every epoch of a checkpoint's training."""
    caption = f"{title} on {len(header['classes'])} classes\n{training.convergence}"
    files.write_figure(path, arm.curves(header["history"], header["epoch"], caption))


def predict(
    model: nn.Module,
    view: preprocess.View,
    raw: Mapping[str, np.ndarray],
    subset: Mapping[str, np.ndarray],
    accelerator: Accelerator,
) -> tuple[arm.Predictions, float]:
    """A network's predictions of the test and validation images, and the seconds that the former took."""
    outputs = partial(inference.predict, model, view=view, accelerator=accelerator)
    start = time.perf_counter()
    logits = outputs(raw["test"], subset["test_index"], label="test")
    seconds = time.perf_counter() - start
    val_logits = outputs(raw["train"], subset["val_index"], label="validation")
    test = logits, subset["test_labels"], subset["test_index"]
    return arm.Predictions(*test, val_logits, subset["val_labels"]), seconds
