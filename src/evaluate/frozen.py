"""One frozen backbone's read-outs on the test images."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.core import design, seeds
from src.evaluate import arm, imagenet
from src.readouts import base, fit, zero_shot
from src.readouts.config import Frozen
from src.readouts.zero_shot import FILE as ZERO_SHOT
from src.records.embed import Embedding
from src.records.evaluate import Evaluation, Evaluations
from src.storage import files

BACKBONE = {"parameters", "macs", "peak_memory", "environment"}  # fields of an embedding that its arms have too


@dataclass(frozen=True)
class FrozenBackbone:
    """A frozen backbone as its stage `embed_*` left it.

    Args:
        features: of all images by split, (N, D).
        head: the pretrained head's weight (1000, D) and bias (1000,), or nothing.
    """

    role: str
    arch: str
    features: Mapping[str, np.ndarray]
    head: Mapping[str, np.ndarray]
    embedding: Embedding


def evaluate(
    folder: Path,
    figures: Path,
    *,
    backbone: FrozenBackbone,
    subset: Mapping[str, np.ndarray],
    classes: list[str],
    config: Frozen,
    seed: int,
) -> Evaluations:
    """Fit each read-out on the subset's training images, predict the test images, and save the predictions.

    Args:
        folder: gets <readout>.npz, affine/<readout>.npz with the weights of read-outs that are affine, and the
            categories of zero_shot where it is possible.
        figures: the folder that gets tables and figures.
    """
    head = zero_shot.PretrainedHead(backbone.head["weight"], backbone.head["bias"]) if backbone.head else None
    wanted, why = imagenet.available(config.readouts, classes, head)
    parts = fit.few_shot(backbone.features["train"], subset, config.shots, seed)
    categories = imagenet.categories(classes) if "zero_shot" in wanted else []
    if categories:
        files.write_json(folder / ZERO_SHOT, categories)
    arms: dict[str, Evaluation] = {}
    for name in wanted:
        start = time.perf_counter()
        fitted = fit.fit(name, parts, rng=seeds.generator(seed, name), head=head, categories=categories)
        fit_seconds = time.perf_counter() - start
        if fitted.affine:
            files.write_arrays(folder / "affine" / f"{name}.npz", **fitted.affine)
        predictions, predict_seconds = predict(fitted, backbone, subset, parts)
        title = design.title(f"{backbone.role}.{name}", backbone.arch)
        scores = arm.write_arm(folder, figures, name, title, predictions, classes)
        cost = readout_cost(fitted, backbone.embedding, scores.n, fit_seconds, predict_seconds)
        arms[name] = Evaluation(**dict(scores), **fitted.chosen, **cost)
        print(f"{backbone.role}.{name}: accuracy {scores.accuracy:.4f} on {scores.n:,} test images")
    if why:
        print(f"{backbone.role}.zero_shot is left out: {why}")
    return Evaluations(arms=arms, unavailable={"zero_shot": why} if why else {})


def predict(
    fitted: base.Readout, backbone: FrozenBackbone, subset: Mapping[str, np.ndarray], parts: base.Features
) -> tuple[arm.Predictions, float]:
    """A read-out's predictions of the test and validation images, and the seconds that the former took."""
    start = time.perf_counter()
    logits = fitted.logits(backbone.features["test"][subset["test_index"]])
    seconds = time.perf_counter() - start
    val_logits = fitted.logits(parts.val) if fitted.val_logits is None else fitted.val_logits
    test = logits, subset["test_labels"], subset["test_index"]
    return arm.Predictions(*test, val_logits, parts.val_labels), seconds


def readout_cost(
    fitted: base.Readout, embedding: Embedding, n: int, fit_seconds: float, predict_seconds: float
) -> dict[str, Any]:
    """The cost of a read-out. The backbone's part of the time is that of embedding as many images."""
    rate = embedding.images_per_second
    seconds = predict_seconds + n / rate
    return {
        **embedding.model_dump(include=BACKBONE),
        "trained_parameters": fitted.parameters,
        "train_macs": fitted.images * embedding.macs,
        "train_seconds": fit_seconds + fitted.images / rate,
        "seconds": seconds,
        "images_per_second": n / seconds,
    }
