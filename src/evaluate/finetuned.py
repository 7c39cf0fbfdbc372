"""One backbone's fine-tuned arms on the test images."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from src.core import design
from src.device import mps_check
from src.evaluate import arm
from src.nets import fast_cpu, inference, models, preprocess
from src.storage import files

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]


def evaluate(
    predictions: Path,
    drawings: Path,
    *,
    role: str,
    checkpoints: dict[str, Checkpoint],
    training: dict[str, Any],
    raw: dict[str, np.ndarray],
    subset: dict[str, np.ndarray],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Each checkpoint's logits, what is right and wrong about them, and what they cost: the metrics by method.

    Args:
        predictions: the folder that gets <method>.npz.
        drawings: the folder that gets tables and pictures.
        checkpoints: by method, a state_dict and its header, as `files.read_tensors` gives them.
        training: by method, what `finetuning.write_finetuned` reported.
        raw: by split, the images (N, H, W, 3) uint8, of which `subset` holds the indices and labels.
    """
    report: dict[str, Any] = {}
    for method, (state, about) in checkpoints.items():
        model = fast_cpu.to_device(models.restore(about["arch"], state, about["image_size"]), accelerator.device)
        if not report:
            mps_check.require(model.requires_grad_(False), about["image_size"])
        answers, seconds = predict(model, preprocess.view(about["arch"], about["image_size"]), raw, subset, accelerator)
        title = design.title(f"{role}.{method}", f"{about['arch']} ({about['weights']} weights)")
        if not accelerator.is_main_process:
            continue  # it answered its share; the first process writes for all
        found = arm.write_arm(predictions, drawings, method, title, answers, about["classes"])
        (said,) = training[method]["convergence"]
        curves = arm.curves(about["history"], about["epoch"], f"{title} on {len(about['classes'])} classes\n{said}")
        files.write_figure(drawings / "pictures" / f"curves_{method}.png", curves)
        took = ("trained_parameters", "train_macs", "train_seconds", "peak_memory", "convergence")
        report[method] = found | {"seconds": seconds, "images_per_second": found["n"] / seconds}
        report[method] |= models.inference_cost(model, about["image_size"], accelerator)
        report[method] |= {key: training[method][key] for key in took}
        print(f"{role}.{method}: accuracy {found['accuracy']:.4f} on {found['n']:,} test images")
    return report


def predict(
    model: nn.Module,
    view: preprocess.View,
    raw: dict[str, np.ndarray],
    subset: dict[str, np.ndarray],
    accelerator: Accelerator,
) -> tuple[arm.Predictions, float]:
    """A network's answers to the test and validation images, and the seconds that the former took."""
    how: dict[str, Any] = {"view": view, "accelerator": accelerator}
    start = time.perf_counter()
    logits = inference.predict(model, raw["test"], subset["test_index"], label="test", **how)
    seconds = time.perf_counter() - start
    val_logits = inference.predict(model, raw["train"], subset["val_index"], label="validation", **how)
    answers = arm.Predictions(logits, subset["test_labels"], subset["test_index"], val_logits, subset["val_labels"])
    return answers, seconds
