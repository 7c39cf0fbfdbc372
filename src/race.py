"""Time to accuracy: how soon this project validates as well as the plain recipe does in the end. For `stages.race`.

All start from the same weights and the same new head, on the same images. Time is the clock's, with the validation that
follows every epoch.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from src import compare, inference, plain, runtime, training
from src.batches import Data
from src.images import View
from src.sections import Finetune

PLAIN = Finetune().recipe()  # the report's, which params.yaml has as its default
# Chosen on validation images under seeds 100 to 102, which are not among those reported.
FAST = PLAIN | {"batch_size": 128, "lr": 0.004, "schedule": "one_cycle", "warmup": 0.15, "augment": False}
RESAMPLES, CONFIDENCE = 10_000, 0.95


@dataclass(frozen=True)
class Finish:
    """Where a run ended: after so many epochs and seconds, at this validation accuracy; `right` (N,) test images."""

    seconds: float
    epochs: int
    val_accuracy: float
    right: np.ndarray


@dataclass(frozen=True)
class Course:
    """What every run of a race has in common: (N, H, W, 3) uint8 images, the subset of them, and how they are seen."""

    train_images: np.ndarray
    test_images: np.ndarray
    subset: Mapping[str, np.ndarray]
    view: View
    seed: int
    accelerator: Accelerator

    def test(self, model: nn.Module) -> np.ndarray:
        """Which test images (N,) a network gets right: of no run's time."""
        index = self.subset["test_index"]
        logits = inference.predict(model, self.test_images, index, view=self.view, accelerator=self.accelerator)
        return compare.correct(logits, self.subset["test_labels"])


def plain_run(model: nn.Module, course: Course) -> Finish:
    """The plain recipe, to the end: what is to be reached is the validation accuracy after its last epoch."""
    device, subset = course.accelerator.device, course.subset
    start = time.perf_counter()
    torch.manual_seed(course.seed)
    train, val = (
        plain.loader(
            course.train_images,
            subset[f"{part}_index"],
            subset[f"{part}_labels"],
            course.view,
            batch_size=PLAIN["batch_size"],
            train=part == "train",
        )
        for part in ("train", "val")
    )
    opt = plain.optimizer(model.to(device), PLAIN["lr"], PLAIN["weight_decay"])
    for _ in range(PLAIN["epochs"]):
        plain.train(model, train, opt, device)
        logits = plain.outputs(model, val, device).numpy()
    seconds = time.perf_counter() - start
    accuracy = float(compare.correct(logits, subset["val_labels"]).mean())
    return Finish(seconds, PLAIN["epochs"], accuracy, course.test(model))


def our_run(model: nn.Module, course: Course, recipe: Mapping[str, Any], goal: float = math.inf) -> Finish:
    """This project's loop by a recipe, until an epoch reaches the goal or the epochs are over."""
    start = time.perf_counter()
    data = Data.of(course.train_images, course.subset, course.accelerator.device)
    model = runtime.place(model, course.accelerator.device)
    for epoch in training.train(
        model, data, view=course.view, seed=course.seed, accelerator=course.accelerator, **recipe
    ):
        seconds, last = time.perf_counter() - start, epoch
        if epoch.val_accuracy >= goal:
            break
    return Finish(seconds, last.number, last.val_accuracy, course.test(model))


def run(make: Callable[[], nn.Module], course: Course) -> dict[str, Finish]:
    """Each way once, one after the other, from the same network.

    Args:
        make: the network that all start from, on the CPU.
    """
    plain_finish = plain_run(make(), course)
    return {
        "plain": plain_finish,
        "report": our_run(make(), course, PLAIN),
        "fast": our_run(make(), course, FAST, plain_finish.val_accuracy),
    }


def line(name: str, finishes: Mapping[str, Finish]) -> str:
    """One seed's ends: seconds, and accuracy on validation and on test images."""
    shown = [
        f"{way} {end.seconds:.1f} s ({end.val_accuracy:.4f}, {end.right.mean():.4f})" for way, end in finishes.items()
    ]
    return f"{name}: {', '.join(shown)}"


def summary(seeds: Sequence[Mapping[str, Finish]]) -> dict[str, Any]:
    """Over seeds: seconds, test accuracies, and each way against the plain recipe.

    A ratio of seconds is taken seed by seed. The difference of test accuracies has an interval over seeds and images,
    see `compare.over_seeds`.
    """
    found: dict[str, Any] = {}
    for way in seeds[0]:
        ends = [finishes[way] for finishes in seeds]
        faster = [finishes["plain"].seconds / finishes[way].seconds for finishes in seeds]
        right, plain_right = (np.stack([finishes[name].right for finishes in seeds]) for name in (way, "plain"))
        gap = compare.over_seeds(right, plain_right, confidence=CONFIDENCE, resamples=RESAMPLES, seed=0)
        found[way] = {
            "seconds": statistics.median(end.seconds for end in ends),
            "epochs": statistics.median(end.epochs for end in ends),
            "reached": sum(
                end.val_accuracy >= finishes["plain"].val_accuracy for end, finishes in zip(ends, seeds, strict=True)
            ),
            "seeds": len(seeds),
            "faster": {"median": statistics.median(faster), "low": min(faster), "high": max(faster)},
            "test_accuracy": float(right.mean()),
            "spread": compare.over_seeds(right, confidence=CONFIDENCE, resamples=100, seed=0).spread,
            "test_accuracy_less_plain": asdict(gap.interval),
        }
    return found
