"""One frozen backbone's read-outs on the test images. For the stages `eval_*` of frozen cells."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src import arms, readout, results, seeds, subsets, zero_shot
from src.errors import UserError


def write_frozen_cell(
    predictions: Path,
    drawings: Path,
    *,
    role: str,
    features: dict[str, np.ndarray],
    head: dict[str, np.ndarray],
    embedding: dict[str, Any],
    subset: dict[str, np.ndarray],
    classes: list[str],
    arch: str,
    readouts: Sequence[str],
    shots: int | None,
    seed: int,
) -> dict[str, Any]:
    """Each read-out fitted on the subset's training images, its logits of the test images, and what they cost.

    Args:
        predictions: the folder that gets <readout>.npz.
        drawings: the folder that gets tables and pictures.
        features: by split, the features (N, D) of all images, of which `subset` holds the indices and labels.
        head: the pretrained head's weight (1000, D) and bias (1000,), or nothing.
        embedding: what `embedding.write_features` reported.
        shots: so many training images of each class at most, and as many for validation: who has few images of a
            class has few to choose settings on, too. None for all.

    Returns:
        The arms' metrics by read-out, and under `unavailable` the read-outs that these classes or weights do not allow.

    Raises:
        UserError: none of the read-outs is to be had.
    """
    known = zero_shot.Head(head["weight"], head["bias"]) if head else None
    why = zero_shot.unavailable(classes, known) if "zero_shot" in readouts else None
    wanted = [name for name in readouts if not (name == "zero_shot" and why)]
    if not wanted:
        raise UserError(f"frozen.readouts = [zero_shot]: {why}; allowed here are the others, e.g. linear")
    parts = few_shot(features["train"], subset, shots, seed)
    report: dict[str, Any] = {}
    for name in wanted:
        start = time.perf_counter()
        rng = seeds.generator(seed, name)
        fitted = readout.fit(name, parts, rng=rng, head=known, classes=classes)
        fit_seconds = time.perf_counter() - start
        start = time.perf_counter()
        logits = fitted.logits(features["test"][subset["test_index"]])
        read_seconds = time.perf_counter() - start
        val_logits = fitted.logits(parts.val) if fitted.val_logits is None else fitted.val_logits
        answers = results.Answers(logits, subset["test_labels"], subset["test_index"], val_logits, parts.val_labels)
        found = results.write_arm(predictions, drawings, name, arms.title(f"{role}.{name}", arch), answers, classes)
        # The backbone's share is the time that embedding took for as many images.
        seconds = read_seconds + len(logits) / embedding["images_per_second"]
        report[name] = found | fitted.chosen | {key: embedding[key] for key in ("parameters", "macs", "peak_memory")}
        report[name] |= {
            "trained_parameters": fitted.parameters,
            "train_macs": fitted.images * embedding["macs"],
            "train_seconds": fit_seconds + fitted.images / embedding["images_per_second"],
            "seconds": seconds,
            "images_per_second": len(logits) / seconds,
            "environment": embedding["environment"],
        }
        print(f"{role}.{name}: accuracy {found['accuracy']:.4f} on {found['n']:,} test images")
    if why:
        print(f"{role}.zero_shot is left out: {why}")
        report["unavailable"] = [{"readout": "zero_shot", "why": why}]
    return report


def few_shot(train: np.ndarray, subset: dict[str, np.ndarray], shots: int | None, seed: int) -> readout.Features:
    """The features and labels that read-outs may learn from, and choose by."""
    found = []
    for part in ("train", "val"):
        chosen = subsets.few(subset[f"{part}_labels"], shots, seeds.generator(seed, "shots", part))
        found += [train[subset[f"{part}_index"][chosen]], subset[f"{part}_labels"][chosen]]
    return readout.Features(*found)
