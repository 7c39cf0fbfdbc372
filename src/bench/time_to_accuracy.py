"""Time to accuracy: how soon this project validates as well as the plain recipe does in the end.

All start from the same weights and the same new head, on the same images. Time is the clock's, with the validation that
follows every epoch.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from src.bench import baseline
from src.core import seeds as core_seeds
from src.data.classes import choose
from src.device import runtime
from src.finetune import loop
from src.finetune.batches import Data
from src.finetune.config import Finetune
from src.finetune.methods import new_model
from src.nets import fast_cpu, inference
from src.nets.preprocess import View, view
from src.prepare.config import Prepare
from src.prepare.subset import choose_images
from src.settings.settings import Settings, load
from src.stats import intervals
from src.storage import files, paths

PLAIN = Finetune()  # the report's, which params.yaml has as its default
# Chosen on validation images under seeds 100 to 102, which are not among those reported.
FAST = Finetune(batch_size=128, lr=0.004, schedule="one_cycle", warmup=0.15, augment=False)
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
        return intervals.correct(logits, self.subset["test_labels"])


def plain_run(model: nn.Module, course: Course) -> Finish:
    """The plain recipe, to the end: what is to be reached is the validation accuracy after its last epoch."""
    device, subset = course.accelerator.device, course.subset
    start = time.perf_counter()
    torch.manual_seed(course.seed)
    train, val = (
        baseline.loader(
            course.train_images,
            subset[f"{part}_index"],
            subset[f"{part}_labels"],
            course.view,
            batch_size=PLAIN.batch_size,
            train=part == "train",
        )
        for part in ("train", "val")
    )
    opt = baseline.optimizer(model.to(device), PLAIN.lr, PLAIN.weight_decay)
    for _ in range(PLAIN.epochs):
        baseline.train(model, train, opt, device)
        logits = baseline.outputs(model, val, device).numpy()
    seconds = time.perf_counter() - start
    accuracy = float(intervals.correct(logits, subset["val_labels"]).mean())
    return Finish(seconds, PLAIN.epochs, accuracy, course.test(model))


def our_run(model: nn.Module, course: Course, config: Finetune, goal: float = math.inf) -> Finish:
    """This project's loop, until an epoch reaches the goal or the epochs are over."""
    start = time.perf_counter()
    data = Data.of(course.train_images, course.subset, course.accelerator.device)
    model = fast_cpu.to_device(model, course.accelerator.device)
    how = {"view": course.view, "seed": course.seed, "accelerator": course.accelerator}
    for epoch in loop.train(model, data, config, **how):
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
        gap = intervals.over_seeds(right, plain_right, confidence=CONFIDENCE, resamples=RESAMPLES, seed=0)
        found[way] = {
            "seconds": statistics.median(end.seconds for end in ends),
            "epochs": statistics.median(end.epochs for end in ends),
            "reached": sum(
                end.val_accuracy >= finishes["plain"].val_accuracy for end, finishes in zip(ends, seeds, strict=True)
            ),
            "seeds": len(seeds),
            "faster": {"median": statistics.median(faster), "low": min(faster), "high": max(faster)},
            "test_accuracy": float(right.mean()),
            "spread": intervals.over_seeds(right, confidence=CONFIDENCE, resamples=100, seed=0).spread,
            "test_accuracy_less_plain": asdict(gap.interval),
        }
    return found


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.bench race",
        description="Seconds until this project is as accurate as the plain recipe is in the end.",
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 5, 10], help="each K, for the first K classes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", type=int, help="of all classes together, so that every K takes as long; else all")
    return parser.parse_args(words)


def courses(settings: Settings, classes: int, wanted: Sequence[int], images_in_all: int | None) -> Iterator[Course]:
    """One course for each seed."""
    names = files.read_json(paths.RAW / "classes.json")
    chosen = choose(classes, names)
    images, labels = (
        {split: files.read_array(paths.RAW / f"{split}_{kind}.npy") for split in ("train", "test")}
        for kind in ("images", "labels")
    )
    _, origin = files.read_tensors(paths.weights("resnet"))
    per_class = images_in_all // classes if images_in_all else settings.prepare.per_class
    config = Prepare().model_copy(update={"val_fraction": settings.prepare.val_fraction, "per_class": per_class})
    for seed in wanted:
        rng = core_seeds.generator(seed, "split")
        subset = choose_images(labels["train"], labels["test"], chosen, [names[label] for label in chosen], config, rng)
        seen = view(origin["arch"], settings.image_size)
        accelerator = runtime.start(settings.device, settings.precision)
        yield Course(images["train"], images["test"], subset, seen, seed, accelerator)


def main(words: Sequence[str]) -> None:
    arguments, settings = parse(words), load()
    weights = files.read_tensors(paths.weights("resnet"))
    report = {}
    for classes in arguments.classes:
        finishes = []
        for course in courses(settings, classes, arguments.seeds, arguments.images):
            finishes.append(run(partial(new_model, weights, classes, course.seed, course.view.size), course))
            print(line(f"{classes} classes, seed {course.seed}", finishes[-1]), flush=True)
        report[f"{classes} classes"] = summary(finishes)
    files.write_json(
        paths.metrics("race"),
        {
            "race": report,
            "recipes": [{"plain": PLAIN.recipe(), "fast": FAST.recipe()}],
            "environment": runtime.environment(runtime.start(settings.device, settings.precision)),
        },
    )
    print(f"{paths.metrics('race')}")
