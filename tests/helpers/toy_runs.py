"""Runs of a sweep that are small enough to count by hand, and simulated ones."""

import numpy as np

from src.core import design
from src.experiments.runs import Condition, Labelled, Run
from src.experiments.scaling import Level
from src.records.compare import Cost
from tests.helpers.toy_records import COST

LEVEL = Level(confidence=0.95, margin=0.01)
CELLS = {
    "resnet.finetuned": "resnet.full",
    "resnet.frozen": "resnet.linear",
    "convnext.finetuned": "convnext.full",
    "convnext.frozen": "convnext.linear",
}
DIAGONAL = {name: CELLS[name] for name in design.QUESTION}
QUESTION = {"resnet.full": 1.0, "convnext.linear": -1.0}


def run(
    answers,
    *,
    classes=2,
    seed=0,
    series="first",
    subset="first",
    shots=None,
    images=100,
    pixels=32,
    macs=None,
    cells=CELLS,
    labels=None,
    index=None,
    validation=None,
    val_index=None,
):
    """A run of one or more seeds, whose arms got right what `answers` says: by arm, a digit or a bool for each image.

    Args:
        seed: the first one.
        answers, validation: by arm; or a list of them, one for each seed.
    """
    several = answers if isinstance(answers, list) else [answers]
    test = {s: _labelled(part, s, classes, labels, index) for s, part in enumerate(several, seed)}
    held_out = validation if isinstance(validation, list) else [validation or {}] * len(several)
    return Run(
        name=f"{series}-{subset}-k{classes}-seed{seed}",
        condition=Condition(series, classes, shots, pixels),
        subset=subset,
        images=images if shots is None else shots,
        base_classes=2,
        test=test,
        validation={s: _labelled(part, s, classes, None, val_index) for s, part in enumerate(held_out, seed)},
        titles={arm: design.title(arm, design.split(arm)[0]) for arm in several[0]},
        costs={arm: Cost(**COST | {"train_macs": (macs or {}).get(arm, 0)}) for arm in several[0]},
        val_accuracy=dict.fromkeys(several[0], 0.5),
        cells=cells,
        question=QUESTION,
    )


def _labelled(answers, seed, classes, labels, index):
    right = {arm: np.array([digit in ("1", True) for digit in part]) for arm, part in answers.items()}
    n = len(next(iter(right.values()), ()))
    return Labelled(
        str(seed),
        np.arange(n) if index is None else np.array(index),
        right,
        np.arange(n) % classes if labels is None else np.array(labels),
    )


def square(first, second, third, fourth, **settings):
    """A run of the four cells: ResNet fine-tuned, ResNet frozen, ConvNeXt fine-tuned, ConvNeXt frozen."""
    return run(dict(zip(CELLS.values(), (first, second, third, fourth), strict=True)), **settings)


def simulated(lead, *, rng, seeds=3, n=300, spread=0.02, level=0.7, **settings):
    """A run in which the first side is better than the second by `lead` on average, each arm by seed and image.

    Args:
        spread: the standard deviation of an arm's accuracy over seeds.
    """
    hard = rng.normal(0, 0.15, n)  # of images, the same for both sides
    answers = []
    for _ in range(seeds):
        shares = level + np.array([lead / 2, -lead / 2]) + rng.normal(0, spread, 2)
        chances = np.clip(shares[:, None] + hard, 0, 1)
        right = rng.random((2, n)) < chances
        answers.append(dict(zip(QUESTION, right.tolist(), strict=True)))
    return run(answers, cells=DIAGONAL, **settings)
