"""What the pages need of finished experiments."""

from collections.abc import Mapping

import numpy as np

from src.core.errors import UserError
from src.records.finetune import Training, Trainings
from src.reproduction.experiments import Experiment
from src.reproduction.ladder import Measured
from src.reproduction.published import BAR_CLASSES, CURVES
from src.reproduction.report import Run, cross_entropy
from src.reproduction.rungs import Rung
from src.stats import intervals
from src.storage import paths
from src.storage.features import ImageRows, place

Predictions = Mapping[int, Mapping[str, np.ndarray]]  # by seed: logits, labels, index, val_logits, val_labels
LEGACY, MODERN = "resnet.finetuned", "convnext.frozen"


def trainings(experiment: Experiment) -> dict[int, Training]:
    """The legacy backbone's training under every seed."""
    record = experiment.record(paths.record("finetune_resnet"), Trainings)
    method = experiment.settings.finetune.methods[0]
    return {seed: record.seeds[str(seed)][method] for seed in experiment.settings.seeds}


def incomplete_batch(experiment: Experiment) -> int:
    """How many images the incomplete batch has that ends each epoch of the legacy backbone's training; 0: none."""
    one = next(iter(trainings(experiment).values()))
    return one.images // len(one.history) % experiment.settings.finetune.batch_size


def legacy(experiment: Experiment) -> Predictions:
    """The predictions of the fine-tuned legacy backbone."""
    return experiment.by_seed(LEGACY, experiment.settings.finetune.methods[0])


def modern(experiment: Experiment) -> Predictions:
    """The predictions of the frozen modern backbone through the first read-out."""
    return experiment.by_seed(MODERN, experiment.settings.frozen.readouts[0])


def right(predictions: Predictions, prefix: str = "") -> np.ndarray:
    """Which images are right under every seed, (S, n) 0 or 1; of `val_` the watched images."""
    logits = [part[f"{prefix}logits"] for part in predictions.values()]
    labels = [part[f"{prefix}labels"] for part in predictions.values()]
    return np.stack([intervals.correct(*pair) for pair in zip(logits, labels, strict=True)]).astype(float)


def run(experiment: Experiment) -> Run:
    """An experiment under `protocol: report`.

    Raises:
        UserError: it has another protocol, or its classes are names.
    """
    settings = experiment.settings
    if settings.protocol != "report" or not isinstance(settings.classes, int):
        raise UserError(
            f"{experiment.name}: protocol = {settings.protocol}, classes = {settings.classes}; the page is drawn from "
            "experiments with protocol = report and 2, 5 or 10 classes"
        )
    by_seed, network, head = trainings(experiment), legacy(experiment), modern(experiment)
    first = next(iter(network.values()))
    base = first["labels"] < BAR_CLASSES
    return Run(
        name=experiment.name,
        k=settings.classes,
        settings=settings,
        environment=next(iter(by_seed.values())).environment,
        curves={
            name: np.array([[epoch[name] for epoch in one.history] for one in by_seed.values()]) for name in CURVES
        },
        right=right(network, "val_"),
        losses=np.stack([cross_entropy(part["val_logits"], part["val_labels"]) for part in network.values()]),
        bar=right(network)[:, base],
        head=right(head)[:, base],
    )


def base_features(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """The modern backbone's features (n, D) and labels (n,) of the test images of the bar chart's classes."""
    part = next(iter(modern(experiment).values()))
    base = part["labels"] < BAR_CLASSES
    features = ImageRows(*map(experiment.array, place(paths.features("convnext"), "test")))
    return features[part["index"][base]], part["labels"][base]


def measured(rung: Rung, experiment: Experiment) -> Measured:
    """What both arms of a rung's experiment got right.

    Where the legacy arm is measured on augmented test images, as in the report, the modern one is on plain ones.
    """
    network, frozen = legacy(experiment), modern(experiment)
    index = next(iter(network.values()))["index"]
    return Measured(
        rung.words,
        index,
        dict(zip(network, right(network, "val_" if rung.augmented else ""), strict=True)),
        dict(zip(frozen, right(frozen), strict=True)),
    )
