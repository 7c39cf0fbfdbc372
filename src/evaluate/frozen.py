"""One frozen backbone's read-outs on the test images."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from src.core import design, seeds
from src.core.records import mean
from src.evaluate import arm, imagenet, timing
from src.readouts import base, fit, zero_shot
from src.readouts.config import Frozen
from src.readouts.zero_shot import FILE as ZERO_SHOT
from src.records.embed import Embedding
from src.records.evaluate import Evaluation, Evaluations
from src.storage import files, paths
from src.storage.features import ImageRows

BACKBONE = {"parameters", "macs", "peak_memory", "environment"}  # fields of an embedding that its arms have too


@dataclass(frozen=True)
class FrozenBackbone:
    """A frozen backbone as its stage `embed_*` left it.

    Args:
        features: of the subset's images by split.
        head: the pretrained head's weight (1000, D) and bias (1000,), or nothing.
        speed: from a test image to its features.
    """

    role: str
    arch: str
    features: Mapping[str, ImageRows]
    head: Mapping[str, np.ndarray]
    embedding: Embedding
    speed: timing.Speed


def evaluate(
    folder: Path,
    figures: Path,
    *,
    backbone: FrozenBackbone,
    subsets: Mapping[int, Mapping[str, np.ndarray]],
    classes: list[str],
    config: Frozen,
    configurations: int,
) -> Evaluations:
    """Fit each read-out on the training images of every seed, predict the test images, and save the predictions.

    Args:
        folder: gets seed<seed>/<readout>.npz, seed<seed>/affine/<readout>.npz with the weights of read-outs that are
            affine, and the categories of zero_shot where it is possible.
        figures: the folder that gets tables; their pictures stand beside it, see `paths.pictures`.
        subsets: by seed, the indices of images and their labels.
        configurations: see `Tune.configurations`.
    """
    head = zero_shot.PretrainedHead(backbone.head["weight"], backbone.head["bias"]) if backbone.head else None
    wanted, why = imagenet.available(config.readouts, classes, head)
    categories = imagenet.categories(classes) if "zero_shot" in wanted else []
    if categories:
        files.write_json(folder / ZERO_SHOT, categories)
    by_seed: dict[str, dict[str, Evaluation]] = {str(seed): {} for seed in subsets}
    for name in wanted:
        fitting = partial(fit.fit, name, configurations=configurations, head=head, categories=categories)
        for seed, evaluation in under_seeds(folder, figures, name, fitting, backbone, subsets, classes).items():
            by_seed[seed][name] = evaluation
    if why:
        print(f"{backbone.role}.zero_shot is left out: {why}")
    return Evaluations(seeds=by_seed, unavailable={"zero_shot": why} if why else {})


def under_seeds(
    folder: Path,
    figures: Path,
    name: str,
    fitting: Callable[..., base.Readout],
    backbone: FrozenBackbone,
    subsets: Mapping[int, Mapping[str, np.ndarray]],
    classes: list[str],
) -> dict[str, Evaluation]:
    """The evaluation of one read-out under every seed.

    Args:
        fitting: `fit.fit` of this read-out, but for features and random numbers.
    """
    speed: timing.Speed | None = None  # the same under every seed
    predictions, evaluations = [], dict[str, Evaluation]()
    for seed, subset in subsets.items():
        parts = base.Features.of(backbone.features["train"], subset)
        start = time.perf_counter()
        fitted = fitting(parts, rng=seeds.generator(seed, name))
        seconds = time.perf_counter() - start
        predicted, evaluation = one(fitted, backbone, subset, parts, classes, seconds)
        tested = backbone.features["test"][subset["test_index"][: timing.IMAGES]]
        speed = speed or timing.readout(fitted.logits, tested, np.arange(len(tested)), backbone.speed)
        size = head_size(name, backbone.embedding, parts)
        evaluations[str(seed)] = evaluation.model_copy(update=size | speed.fields())
        write(paths.of_seed(folder, seed), name, fitted, predicted)
        predictions.append(predicted)
    scored, arm_name = mean(list(evaluations.values())), f"{backbone.role}.{name}"
    arm.write_figures(figures, name, design.title(arm_name, backbone.arch), predictions, scored, classes)
    spread = ", ".join(f"{evaluation.accuracy:.4f}" for evaluation in evaluations.values())
    print(f"{arm_name}: accuracy {spread} on {scored.n:,} test images{at_edge(evaluations)}", flush=True)
    return evaluations


def at_edge(by_seed: Mapping[str, Evaluation]) -> str:
    """A remark for people, where a better strength may lie beyond those that were tried."""
    there = [seed for seed, evaluation in by_seed.items() if evaluation.at_edge]
    if not there:
        return ""
    return f"; of the strengths the last was best under seed {', '.join(there)}: a better one may lie beyond"


def one(
    fitted: base.Readout,
    backbone: FrozenBackbone,
    subset: Mapping[str, np.ndarray],
    parts: base.Features,
    classes: list[str],
    fit_seconds: float,
) -> tuple[arm.Predictions, Evaluation]:
    """The predictions and the evaluation of one read-out under one seed."""
    predicted, seconds = predict(fitted, backbone, subset, parts)
    scores = arm.score(predicted, classes)
    cost = readout_cost(fitted, backbone.embedding, scores.n, fit_seconds, seconds)
    return predicted, Evaluation(**dict(scores), **fitted.chosen, **cost)


def head_size(name: str, embedding: Embedding, parts: base.Features) -> dict[str, int]:
    """Parameters and multiply-accumulates of the backbone and a read-out, counted as those of a network with its head.

    Every read-out is a product of the features with some rows: one for each class, ImageNet category or training image.
    """
    rows = {"knn": len(parts.train), "zero_shot": zero_shot.CATEGORIES}.get(name, parts.classes)
    macs, biases = rows * parts.train.shape[1], 0 if name in ("knn", "centroid") else rows
    return {
        "parameters": embedding.parameters + macs + biases,
        "macs": embedding.macs + macs,
        "executed_macs": embedding.executed_macs + macs,
    }


def write(folder: Path, name: str, fitted: base.Readout, predicted: arm.Predictions) -> None:
    """Save the predictions of a read-out and, if it is affine, its weights."""
    files.write_arrays(folder / f"{name}.npz", **asdict(predicted))
    if fitted.affine:
        files.write_arrays(folder / "affine" / f"{name}.npz", **fitted.affine)


def predict(
    fitted: base.Readout, backbone: FrozenBackbone, subset: Mapping[str, np.ndarray], parts: base.Features
) -> tuple[arm.Predictions, float]:
    """A read-out's predictions of the test and validation images, and the seconds that the former took."""
    start = time.perf_counter()
    logits = fitted.logits(backbone.features["test"][subset["test_index"]])
    seconds = time.perf_counter() - start
    val_logits = fitted.val_logits
    if val_logits is None:
        val_logits = fitted.logits(parts.val) if len(parts.val) else np.empty((0, logits.shape[1]), np.float32)
    test = logits, subset["test_labels"], subset["test_index"]
    return arm.Predictions(*test, val_logits, parts.val_labels), seconds


def readout_cost(
    fitted: base.Readout, embedding: Embedding, n: int, fit_seconds: float, predict_seconds: float
) -> dict[str, Any]:
    """The cost of a read-out, every configuration that was tried included.

    The backbone's part of the time is that of embedding as many images.
    """
    rate = embedding.images_per_second
    seconds = predict_seconds + n / rate
    return {
        **embedding.model_dump(include=BACKBONE),
        "trained_parameters": fitted.parameters,
        "train_macs": fitted.images * embedding.macs + fitted.fit_macs,
        "train_seconds": fit_seconds + fitted.images / rate,
        "seconds": seconds,
        "images_per_second": n / seconds,
    }
