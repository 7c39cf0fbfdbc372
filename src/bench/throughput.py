"""Images per second of this project in training and embedding, compared with an upper bound and the baseline.

Each way is a function that runs a number of batches and returns the seconds. The ways take turns, so that other load on
the machine slows all of them alike.
"""

import argparse
import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from src.bench import baseline
from src.core.errors import UserError
from src.device import prefetch, runtime
from src.finetune import loop
from src.finetune.batches import Data, shuffled
from src.finetune.checkpoint import Trained, TrainState
from src.finetune.config import DEFAULT_LR, Finetune
from src.nets import folding, inference, models, preprocess, specialised
from src.nets.crops import Watched
from src.settings.settings import load
from src.storage import files, paths

Way = Callable[[int], float]  # batches -> seconds
SIDE, CLASSES = 32, 10  # of the generated images, like CIFAR-10's


@dataclass(frozen=True)
class Workload:
    """What is timed: an architecture at an image size, on generated images.

    Args:
        config: of which optimizer, lr, weight_decay and augmentation are used.
    """

    arch: str
    image_size: int
    batch_size: int
    config: Finetune
    accelerator: Accelerator

    @property
    def view(self) -> preprocess.View:
        return preprocess.view(self.arch, self.image_size)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def data(self, batches: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, 32, 32, 3) uint8 and labels (N,) for so many batches."""
        rng, count = np.random.default_rng(0), batches * self.batch_size
        return rng.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8), rng.integers(CLASSES, size=count)

    def fixed_batch(self) -> tuple[Tensor, Tensor]:
        """One batch of inputs and labels on the device."""
        raw, labels = self.data(1)
        batch = torch.from_numpy(raw).to(self.device)
        return preprocess.to_input(batch, self.view), torch.from_numpy(labels).to(self.device)

    def baseline_batches(self, batches: int, *, train: bool) -> Iterator[Any]:
        """So many batches of the baseline's loader. Its workers have started, which happens once in an epoch."""
        raw, labels = self.data(batches + 1)
        index = np.arange(len(raw))
        loader = iter(baseline.loader(raw, index, labels, self.view, batch_size=self.batch_size, train=train))
        next(loader)
        return itertools.islice(loader, batches)

    def prepared(self) -> tuple[nn.Module, Any, Trained]:
        """A network and its optimizer as this project trains them, with a constant learning rate."""
        model = specialised.place(models.build(self.arch, CLASSES, 0, self.image_size), self.image_size, self.device)
        config = self.config.at(self.arch).model_copy(update={"schedule": "constant", "warmup": None})
        return loop.prepare(model.train(), config, 1, self.accelerator)

    def backbone(self) -> nn.Module:
        """The network without head, with random weights."""
        return models.without_head(models.build(self.arch, CLASSES, 0, self.image_size))


def timed(device: torch.device, work: Callable[[], Any]) -> float:
    """Seconds until the device has finished the work."""

    def now() -> float:
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        return time.perf_counter()

    start = now()
    work()
    return now() - start


def training_here(workload: Workload) -> Way:
    """Training by this project: its loop over one epoch."""
    network, optimizer, trained = workload.prepared()

    def way(batches: int) -> float:
        raw, labels = workload.data(batches)
        index = np.arange(len(raw))
        images = prefetch.resident(raw, workload.device)
        data = Data(images, index, labels, Watched(images, index[:0], labels[:0]))
        epoch = shuffled(data, 1, workload.config, view=workload.view, seed=0, accelerator=workload.accelerator)
        state = TrainState(sums=torch.zeros(3, device=workload.device))
        return timed(
            workload.device, lambda: loop.train_epoch(network, epoch, F.cross_entropy, optimizer, trained, state)
        )

    return way


def training_bound(workload: Workload) -> Way:
    """The upper bound of training: steps of the same network and optimizer on one batch that is on the device."""
    model, opt, _ = workload.prepared()
    inputs, labels = workload.fixed_batch()

    def steps(batches: int) -> None:
        for _ in range(batches):
            loss = F.cross_entropy(model(inputs), labels)
            opt.zero_grad()
            workload.accelerator.backward(loss)
            opt.step()

    return lambda batches: timed(workload.device, lambda: steps(batches))


def training_plain(workload: Workload) -> Way:
    """Training by the baseline."""
    model = models.build(workload.arch, CLASSES, 0, workload.image_size).to(workload.device)
    opt = baseline.optimizer(model, workload.config.lr or DEFAULT_LR, workload.config.weight_decay)

    def way(batches: int) -> float:
        epoch = workload.baseline_batches(batches, train=True)
        return timed(workload.device, lambda: baseline.train(model, epoch, opt, workload.device))

    return way


def embedding_here(workload: Workload) -> Way:
    """Embedding by this project."""
    model = specialised.place(folding.fold(workload.backbone()), workload.image_size, workload.device)

    def way(batches: int) -> float:
        raw, _ = workload.data(batches)
        blocks = inference.outputs(
            model, raw, np.arange(len(raw)), view=workload.view, accelerator=workload.accelerator
        )
        return timed(workload.device, lambda: deque(blocks, maxlen=0))

    return way


def embedding_bound(workload: Workload) -> Way:
    """The upper bound of embedding: the same network on one batch that is on the device."""
    model = specialised.place(folding.fold(workload.backbone()), workload.image_size, workload.device).eval()
    inputs, _ = workload.fixed_batch()

    @torch.inference_mode()
    def embed(batches: int) -> None:
        for _ in range(batches):
            with workload.accelerator.autocast():
                model(inputs)

    return lambda batches: timed(workload.device, lambda: embed(batches))


def embedding_plain(workload: Workload) -> Way:
    """Embedding by the baseline."""
    model = workload.backbone().to(workload.device)

    def way(batches: int) -> float:
        images = workload.baseline_batches(batches, train=False)
        return timed(workload.device, lambda: baseline.outputs(model, images, workload.device))

    return way


# `limit` is the upper bound, `plain` the baseline.
TRAINING = {"this": training_here, "limit": training_bound, "plain": training_plain}
EMBEDDING = {"this": embedding_here, "limit": embedding_bound, "plain": embedding_plain}
COLUMNS = ("this", "limit", "plain", "this / limit", "this / plain")


def take_turns(ways: Mapping[str, Way], *, batches: int, rounds: int) -> dict[str, list[float]]:
    """The seconds of each way in each round, after a short warm-up."""
    for way in ways.values():
        way(max(1, batches // 4))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way(batches))
    return seconds


def summary(seconds: Mapping[str, list[float]], images: int) -> dict[str, dict[str, float]]:
    """Median, lowest and highest over rounds of the images per second, and of this project's ratio to the others.

    Ratios are taken within a round, in which all ways had the same load on the machine.
    """
    rates = {name: [images / second for second in rounds] for name, rounds in seconds.items()}
    ratios = {
        f"this / {other}": [ours / theirs for ours, theirs in zip(rates["this"], rates[other], strict=True)]
        for other in ("limit", "plain")
    }
    return {
        name: {"median": statistics.median(values), "low": min(values), "high": max(values)}
        for name, values in (rates | ratios).items()
    }


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line.

    Raises:
        UserError: a number is too small.
    """
    parser = argparse.ArgumentParser(
        prog="python -m src.bench throughput",
        description="Images per second of this project, compared with the device's limit and with plain torchvision.",
    )
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each way")
    parser.add_argument("--images", type=int, default=1280, help="in each measurement")
    options = parser.parse_args(words)
    for name in ("rounds", "images"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: allowed is 1 or more")
    return options


def line(name: str, cells: Sequence[str]) -> str:
    """A line of the printed table."""
    return "  ".join([f"{name:44}", *(f"{cell:>12}" for cell in cells)])


def medians(result: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The cells of a line, see `summary`."""
    return [format(result[column]["median"], ".2f" if "/" in column else ",.0f") for column in COLUMNS]


def main(words: Sequence[str]) -> None:
    """Measure training and embedding of both backbones, print a table and write metrics/bench.json."""
    arguments, settings = parse(words), load()
    accelerator = runtime.start(settings.device, settings.precision)
    report: dict[str, Any] = {}
    print(line("images/s, medians", COLUMNS))
    for role in ("resnet", "convnext"):
        arch = getattr(settings, role).arch
        for what, ways, batch_size in (
            ("train", TRAINING, settings.finetune.batch_size),
            ("embed", EMBEDDING, inference.batch_size(settings.image_size, accelerator.device)),
        ):
            workload = Workload(arch, settings.image_size, batch_size, settings.finetune.at(arch), accelerator)
            batches = max(1, arguments.images // batch_size)
            ready = {name: make(workload) for name, make in ways.items()}
            seconds = take_turns(ready, batches=batches, rounds=arguments.rounds)
            name = f"{what} {arch}, {settings.image_size} px, batch {batch_size}"
            report[name] = summary(seconds, batches * batch_size)
            print(line(name, medians(report[name])), flush=True)
    environment = runtime.environment(accelerator)
    files.write_json(paths.metrics("bench"), {"bench": report, "rounds": arguments.rounds, "environment": environment})
    print(f"{arguments.rounds} rounds; {environment}\n{paths.metrics('bench')}")
