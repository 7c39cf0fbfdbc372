"""One backbone's fine-tuned arms on the test images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from src.core import design
from src.core.records import mean
from src.device import mps_check
from src.device.prefetch import OnHost
from src.evaluate import arm, timing
from src.nets import inference, models, preprocess, specialised
from src.nets.crops import Watched
from src.records.evaluate import Evaluation, Evaluations
from src.records.finetune import Training, Trainings
from src.records.tune import SearchSummary
from src.storage import files, paths

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]  # a state_dict and its header, as `files.read_tensors` gives them
# Fields of a training that its arm has too.
TRAINING = {"trained_parameters", "train_macs", "train_seconds", "peak_memory", "convergence"}


@dataclass(frozen=True)
class FinetunedBackbone:
    """One backbone's fine-tuned networks and the images that they are measured on.

    Args:
        methods: of fine-tuning.
        checkpoint: reads the network of a seed and a method.
        raw: by split, the images (N, H, W, 3) uint8.
        subsets: by seed, the indices into them and the labels.
        watch: see `Finetune.watch`.
        search: of the learning rate, if there was one.
    """

    role: str
    methods: Sequence[str]
    checkpoint: Callable[[int, str], Checkpoint]
    trainings: Trainings
    raw: Mapping[str, OnHost]
    subsets: Mapping[int, Mapping[str, np.ndarray]]
    watch: str
    search: SearchSummary | None


def evaluate(folder: Path, figures: Path, *, backbone: FinetunedBackbone, accelerator: Accelerator) -> Evaluations:
    """Predict the test images by every network, and save predictions, tables and figures.

    Args:
        folder: gets seed<seed>/<method>.npz.
        figures: the folder that gets tables; their pictures stand beside it, see `paths.pictures`.

    Returns:
        The evaluation of every method under every seed; of none in processes other than the first.
    """
    by_seed: dict[str, dict[str, Evaluation]] = {str(seed): {} for seed in backbone.subsets}
    for method in backbone.methods:
        speed: timing.Speed | None = None  # the same under every seed
        predictions: list[arm.Predictions] = []
        header: dict[str, Any] = {}
        for seed in backbone.subsets:
            state, header = backbone.checkpoint(seed, method)
            predicted, evaluation = one(state, header, backbone, method, accelerator)
            if accelerator.is_main_process:  # others predicted their share
                speed = speed or time_one(state, header, backbone, accelerator)
                evaluation = evaluation.model_copy(update=speed.fields())
                files.write_arrays(paths.of_seed(folder, seed) / f"{method}.npz", **asdict(predicted))
                predictions.append(predicted)
                by_seed[str(seed)][method] = evaluation
                shown = f"{backbone.role}.{method}, seed {seed}: accuracy {evaluation.accuracy:.4f}"
                print(f"{shown} on {evaluation.n:,} test images", flush=True)
        if accelerator.is_main_process:
            title = design.title(f"{backbone.role}.{method}", f"{header['arch']} ({header['weights']} weights)")
            scored = mean([arms[method] for arms in by_seed.values()])
            arm.write_figures(figures, method, title, predictions, scored, header["classes"])
            write_curves(paths.pictures(figures) / f"curves_{method}.png", title, backbone, method)
    return Evaluations(seeds=by_seed if accelerator.is_main_process else {})


def one(
    state: dict[str, Tensor], header: dict[str, Any], backbone: FinetunedBackbone, method: str, accelerator: Accelerator
) -> tuple[arm.Predictions, Evaluation]:
    """The predictions and the evaluation of one network."""
    arch, size, seed = header["arch"], header["image_size"], header["seed"]
    model = specialised.place(models.restore(arch, state, size), size, accelerator.device)
    mps_check.require(model.requires_grad_(False), size)
    predictions, seconds = predict(model, preprocess.view_of(header), backbone, header, accelerator)
    scores = arm.score(predictions, header["classes"], calibrate=backbone.watch == "validation")
    cost = models.inference_cost(model, size, accelerator)
    cost |= training_cost(backbone.trainings.seeds[str(seed)][method], backbone.search)
    return predictions, Evaluation(**dict(scores), **cost, seconds=seconds, images_per_second=scores.n / seconds)


def training_cost(training: Training, search: SearchSummary | None) -> dict[str, Any]:
    """What it takes to get a network: the search, without which nobody would know the rate, and the training."""
    cost = training.model_dump(include=TRAINING) | {"configurations": 1}
    if search:
        cost["configurations"] = search.configurations
        cost["train_macs"] += search.train_macs
        cost["train_seconds"] += search.train_seconds
    return cost


def time_one(
    state: dict[str, Tensor], header: dict[str, Any], backbone: FinetunedBackbone, accelerator: Accelerator
) -> timing.Speed:
    """The speed of one network on test images."""
    network, view = models.restore(header["arch"], state, header["image_size"]), preprocess.view_of(header)
    index = backbone.subsets[header["seed"]]["test_index"]
    return timing.network(network, backbone.raw["test"], index, view=view, accelerator=accelerator)


def write_curves(path: Path, title: str, backbone: FinetunedBackbone, method: str) -> None:
    """Draw every epoch of a method's trainings."""
    trainings = [methods[method] for methods in backbone.trainings.seeds.values()]
    files.write_figure(path, arm.curves([one.history for one in trainings], backbone.watch, title))


def predict(
    model: nn.Module,
    view: preprocess.View,
    backbone: FinetunedBackbone,
    header: Mapping[str, Any],
    accelerator: Accelerator,
) -> tuple[arm.Predictions, float]:
    """A network's predictions of the test and the watched images, and the seconds that the former took."""
    outputs = partial(inference.predict, model, view=view, accelerator=accelerator)
    subset = backbone.subsets[header["seed"]]
    start = time.perf_counter()
    logits = outputs(backbone.raw["test"], subset["test_index"], label="test")
    seconds = time.perf_counter() - start
    watched = Watched.of(backbone.raw, subset, backbone.watch)
    test = logits, subset["test_labels"], subset["test_index"]
    watched_logits = outputs(*watched.at(header["seed"], header["epoch"]), label="watched")
    return arm.Predictions(*test, watched_logits, watched.labels), seconds
