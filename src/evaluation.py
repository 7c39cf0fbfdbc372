"""One backbone's fine-tuned arms on the test images. For the stages `eval_*` of fine-tuned cells."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src import arms, files, images, inference, models, plots, results, runtime

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]


def write_finetuned_cell(
    predictions: Path,
    drawings: Path,
    *,
    role: str,
    checkpoints: dict[str, Checkpoint],
    training: dict[str, Any],
    raw: dict[str, np.ndarray],
    subset: dict[str, np.ndarray],
    device: torch.device,
) -> dict[str, Any]:
    """Each checkpoint's logits, what is right and wrong about them, and what they cost.

    Args:
        predictions: the folder that gets <method>.npz.
        drawings: the folder that gets tables and pictures.
        checkpoints: by method, a state_dict and its header, as `files.read_tensors` gives them.
        training: by method, what `finetuning.write_finetuned` reported.
        raw: by split, the images (N, H, W, 3) uint8, of which `subset` holds the indices and labels.

    Returns:
        The arms' metrics by method.
    """
    report = {}
    for method, (state, about) in checkpoints.items():
        model = runtime.place(models.restore(about["arch"], state), device)
        view = images.view(about["arch"], about["image_size"])
        start = time.perf_counter()
        logits = inference.predict(model, raw["test"], subset["test_index"], view=view, label="test")
        seconds = time.perf_counter() - start
        val_logits = inference.predict(model, raw["train"], subset["val_index"], view=view, label="validation")
        title = arms.title(f"{role}.{method}", f"{about['arch']} ({about['weights']} weights)")
        answers = results.Answers(logits, subset["test_labels"], subset["test_index"], val_logits, subset["val_labels"])
        found = results.write_arm(predictions, drawings, method, title, answers, about["classes"])
        curves = plots.curves(about["history"], about["epoch"], f"{title} on {len(about['classes'])} classes")
        files.write_figure(drawings / "pictures" / f"curves_{method}.png", curves)
        took = training[method]
        report[method] = found | {
            "parameters": models.parameters(model),
            "macs": models.macs(model, view.size),
            **{key: took[key] for key in ("trained_parameters", "train_macs", "train_seconds", "peak_memory")},
            "seconds": seconds,
            "images_per_second": len(logits) / seconds,
            "environment": runtime.environment(device),
        }
        print(f"{role}.{method}: accuracy {found['accuracy']:.4f} on {found['n']:,} test images")
    return report
