"""Time to accuracy: the seconds after which this project reaches the final validation accuracy of the baseline.

All ways start from the same weights and the same new head, on the same images. Time is wall-clock time, and includes
the validation after each epoch.
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
from src.core.seeds import generator
from src.data.classes import choose
from src.device import runtime
from src.finetune import loop
from src.finetune.batches import Data, on_device
from src.finetune.config import DEFAULT_LR, Finetune
from src.finetune.methods import new_model
from src.nets import inference, specialised
from src.nets.preprocess import View, view
from src.prepare.config import Prepare
from src.prepare.subset import choose_images
from src.settings.settings import Settings, load
from src.stats import contrasts, intervals
from src.stats.contrasts import Answers
from src.storage import files, paths, raw

PLAIN = Finetune(lr=DEFAULT_LR)  # what someone would write with torchvision alone
# Chosen on validation images with seeds 100 to 102, for which no results are reported.
FAST = Finetune(freeze=0.5, epochs=4, batch_size=128, lr=0.006, schedule="one_cycle", warmup=0.15, augment=False)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Finish:
    """The end of a run: its time, epochs and validation accuracy, and which test images (N,) are right."""

    seconds: float
    epochs: int
    val_accuracy: float
    right: np.ndarray


@dataclass(frozen=True)
class Course:
    """What all runs of a race have in common: images (N, H, W, 3) uint8, their subset, the view and the seed."""

    train_images: np.ndarray
    test_images: np.ndarray
    subset: Mapping[str, np.ndarray]
    view: View
    seed: int
    accelerator: Accelerator

    def test(self, model: nn.Module) -> np.ndarray:
        """Which test images (N,) a network gets right; not part of the time of a run."""
        index = self.subset["test_index"]
        logits = inference.predict(model, self.test_images, index, view=self.view, accelerator=self.accelerator)
        return intervals.correct(logits, self.subset["test_labels"])


def plain_run(model: nn.Module, course: Course) -> Finish:
    """The baseline with all its epochs; its final validation accuracy is the goal of the fast settings."""
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
    opt = baseline.optimizer(model.to(device), DEFAULT_LR, PLAIN.weight_decay)
    for _ in range(PLAIN.epochs):
        baseline.train(model, train, opt, device)
        logits = baseline.outputs(model, val, device).numpy()
    seconds = time.perf_counter() - start
    accuracy = float(intervals.correct(logits, subset["val_labels"]).mean())
    return Finish(seconds, PLAIN.epochs, accuracy, course.test(model))


def our_run(model: nn.Module, course: Course, config: Finetune, goal: float = math.inf) -> Finish:
    """This project's loop, until an epoch reaches the goal or all epochs are done."""
    start = time.perf_counter()
    raw = {"train": course.train_images, "test": course.test_images}
    data = Data.of(on_device(raw, course.accelerator.device), course.subset, config.watch)
    model = specialised.place(model, course.view.size, course.accelerator.device)
    for epoch in loop.train(model, data, config, view=course.view, seed=course.seed, accelerator=course.accelerator):
        seconds, last = time.perf_counter() - start, epoch
        if epoch.val_accuracy >= goal:
            break
    return Finish(seconds, last.number, last.val_accuracy, course.test(model))


def run(make: Callable[[], nn.Module], course: Course) -> dict[str, Finish]:
    """Run each way once, one after the other.

    Args:
        make: builds the network from which all ways start, on the CPU.
    """
    plain_finish = plain_run(make(), course)
    return {
        "plain": plain_finish,
        "same": our_run(make(), course, PLAIN),
        "fast": our_run(make(), course, FAST, plain_finish.val_accuracy),
    }


def line(name: str, finishes: Mapping[str, Finish]) -> str:
    """The results of one seed: for each way the seconds, and the accuracy on validation and on test images."""
    parts = [
        f"{way} {end.seconds:.1f} s ({end.val_accuracy:.4f}, {end.right.mean():.4f})" for way, end in finishes.items()
    ]
    return f"{name}: {', '.join(parts)}"


def summary(seeds: Sequence[Mapping[str, Finish]]) -> dict[str, Any]:
    """Over seeds: the seconds and test accuracy of each way, and its comparison with the baseline.

    Ratios of seconds are taken within a seed. The difference of test accuracies has an interval over seeds and images,
    see `contrasts.contrast`.
    """
    ways: dict[str, Any] = {}
    answers = [
        Answers(str(place), np.arange(len(finishes["plain"].right)), {way: end.right for way, end in finishes.items()})
        for place, finishes in enumerate(seeds)
    ]
    for way in seeds[0]:
        ends = [finishes[way] for finishes in seeds]
        faster = [finishes["plain"].seconds / finishes[way].seconds for finishes in seeds]
        accuracy = contrasts.accuracy(answers, way, CONFIDENCE)
        gap = contrasts.contrast(answers, {way: 1, "plain": -1}, CONFIDENCE) if way != "plain" else None
        ways[way] = {
            "seconds": statistics.median(end.seconds for end in ends),
            "epochs": statistics.median(end.epochs for end in ends),
            "reached": sum(
                end.val_accuracy >= finishes["plain"].val_accuracy for end, finishes in zip(ends, seeds, strict=True)
            ),
            "seeds": len(seeds),
            "faster": {"median": statistics.median(faster), "low": min(faster), "high": max(faster)},
            "test_accuracy": accuracy.value,
            "spread": accuracy.sd,
            "test_accuracy_less_plain": asdict(gap.interval) if gap else None,
        }
    return ways


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m src.bench race",
        description="Seconds until this project reaches the final validation accuracy of plain torchvision.",
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 5, 10], help="each K, the first K classes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the split and the training")
    parser.add_argument("--images", type=int, help="training images of all classes together; all if not given")
    return parser.parse_args(words)


def courses(settings: Settings, classes: int, seeds: Sequence[int], max_images: int | None) -> Iterator[Course]:
    """One course for each seed, with the first K classes and at most so many images of all of them together."""
    names = raw.classes()
    chosen = choose(classes, names)
    images = {split: np.asarray(raw.images(split)) for split in ("train", "test")}
    labels = {split: raw.labels(split) for split in ("train", "test")}
    _, origin = files.read_tensors(paths.weights("resnet"))
    per_class = max_images // classes if max_images else settings.prepare.per_class
    config = Prepare().model_copy(update={"val_fraction": settings.prepare.val_fraction, "per_class": per_class})
    for seed in seeds:
        rng = generator(seed, "split")
        subset = choose_images(labels["train"], labels["test"], chosen, [names[label] for label in chosen], config, rng)
        accelerator = runtime.start(settings.device, settings.precision)
        network_view = view(origin["arch"], settings.image_size)
        yield Course(images["train"], images["test"], subset, network_view, seed, accelerator)


def main(words: Sequence[str]) -> None:
    """Run the race for each class count and seed, print the results and write metrics/race.json."""
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
            "recipes": {"plain": PLAIN.recipe(), "fast": FAST.recipe()},
            "environment": runtime.environment(runtime.start(settings.device, settings.precision)),
        },
    )
    print(f"{paths.metrics('race')}")
