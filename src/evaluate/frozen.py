"""One frozen backbone's read-outs on the test images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.core import design, seeds
from src.evaluate import arm
from src.readouts import base, fit, zero_shot
from src.readouts.fit import available, few_shot
from src.storage import files


@dataclass(frozen=True)
class FrozenBackbone:
    """A frozen backbone as its stage `embed_*` left it.

    `features` are those of all images by split, (N, D); `head` is the pretrained head's weight (1000, D) and bias
    (1000,), or nothing; `embedding` is what `embedding.write_features` reported.
    """

    role: str
    arch: str
    features: Mapping[str, np.ndarray]
    head: Mapping[str, np.ndarray]
    embedding: Mapping[str, Any]


def evaluate(
    predictions: Path,
    drawings: Path,
    *,
    backbone: FrozenBackbone,
    subset: Mapping[str, np.ndarray],
    classes: list[str],
    readouts: Sequence[str],
    shots: int | None,
    seed: int,
) -> dict[str, Any]:
    """Each read-out fitted on the subset's training images, its logits of the test images, and what they cost.

    Args:
        predictions, drawings: the folders that get <readout>.npz (and affine/<readout>.npz, what such a read-out
            computes), and tables and pictures.
        shots: so many training images of each class at most, and as many for validation; None for all.

    Returns:
        The arms' metrics by read-out, and under `unavailable` the read-outs that these classes or weights do not allow.
    """
    head = zero_shot.PretrainedHead(backbone.head["weight"], backbone.head["bias"]) if backbone.head else None
    wanted, why = available(readouts, classes, head)
    parts = few_shot(backbone.features["train"], subset, shots, seed)
    report: dict[str, Any] = {}
    for name in wanted:
        start = time.perf_counter()
        fitted = fit.fit(name, parts, rng=seeds.generator(seed, name), head=head, classes=classes)
        seconds = time.perf_counter() - start
        if fitted.affine:
            files.write_arrays(predictions / "affine" / f"{name}.npz", **fitted.affine)
        answers, asked = predict(fitted, backbone, subset, parts)
        title = design.title(f"{backbone.role}.{name}", backbone.arch)
        found = arm.write_arm(predictions, drawings, name, title, answers, classes)
        report[name] = found | fitted.chosen | cost(fitted, backbone.embedding, len(answers.labels), seconds, asked)
        print(f"{backbone.role}.{name}: accuracy {found['accuracy']:.4f} on {found['n']:,} test images")
    if why:
        print(f"{backbone.role}.zero_shot is left out: {why}")
        return report | {"unavailable": [{"readout": "zero_shot", "why": why}]}
    return report


def predict(
    fitted: base.Readout, backbone: FrozenBackbone, subset: Mapping[str, np.ndarray], parts: base.Features
) -> tuple[arm.Predictions, float]:
    """A read-out's answers to the test and validation images, and the seconds that the former took."""
    start = time.perf_counter()
    logits = fitted.logits(backbone.features["test"][subset["test_index"]])
    seconds = time.perf_counter() - start
    val_logits = fitted.logits(parts.val) if fitted.val_logits is None else fitted.val_logits
    answers = arm.Predictions(logits, subset["test_labels"], subset["test_index"], val_logits, parts.val_labels)
    return answers, seconds


def cost(
    fitted: base.Readout, embedding: Mapping[str, Any], n: int, fit_seconds: float, read_seconds: float
) -> dict[str, Any]:
    """What a read-out took; the backbone's share is the time that embedding took for as many images."""
    rate = embedding["images_per_second"]
    seconds = read_seconds + n / rate
    return {
        **{key: embedding[key] for key in ("parameters", "macs", "peak_memory", "environment")},
        "trained_parameters": fitted.parameters,
        "train_macs": fitted.images * embedding["macs"],
        "train_seconds": fit_seconds + fitted.images / rate,
        "seconds": seconds,
        "images_per_second": n / seconds,
    }
