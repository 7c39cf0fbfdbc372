"""Runs of a sweep that are small enough to count by hand."""

import numpy as np

from src.core import design
from src.experiments.scaling import Run
from src.records.compare import Cost
from src.stats.intervals import Sampling
from tests.helpers.toy_records import COST

SAMPLING = Sampling(0.95, 500, 0)
CELLS = {
    "resnet.finetuned": "resnet.full",
    "resnet.frozen": "resnet.linear",
    "convnext.finetuned": "convnext.full",
    "convnext.frozen": "convnext.linear",
}
DIAGONAL = {name: CELLS[name] for name in design.QUESTION}


def run(answers, *, classes=2, seed=0, series="first", subset="first", macs=None, cells=CELLS, labels=None):
    """A run whose arms got right what `answers` says: by arm, a text of a digit for each image."""
    right = {arm: np.array([digit == "1" for digit in text]) for arm, text in answers.items()}
    n = len(next(iter(right.values())))
    costs = {arm: Cost(**COST | {"train_macs": (macs or {}).get(arm, 0)}) for arm in right}
    return Run(
        name=f"{series}-{subset}-k{classes}-seed{seed}",
        series=series,
        subset=subset,
        classes=classes,
        seed=seed,
        base_classes=2,
        labels=np.arange(n) % classes if labels is None else np.array(labels),
        index=np.arange(n),
        right=right,
        titles={arm: design.title(arm, design.split(arm)[0]) for arm in right},
        costs=costs,
        val_accuracy=dict.fromkeys(right, 0.5),
        cells=cells,
    )


def square(first, second, third, fourth, **settings):
    """A run of the four cells: ResNet fine-tuned, ResNet frozen, ConvNeXt fine-tuned, ConvNeXt frozen."""
    return run(dict(zip(CELLS.values(), (first, second, third, fourth), strict=True)), **settings)
