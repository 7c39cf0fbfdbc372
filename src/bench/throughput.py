"""How fast this project trains and embeds, beside the device's limit and the plain recipe.

Each way is a function that works on so many batches and returns the seconds they took. The ways take turns, so that a
machine that is busy with other things slows all of them alike.
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
from src.finetune.config import Finetune
from src.nets import fast_cpu, inference, models, preprocess
from src.settings.settings import load
from src.storage import files, paths

Way = Callable[[int], float]  # batches -> seconds
SIDE, CLASSES = 32, 10  # of the generated images: CIFAR's


@dataclass(frozen=True)
class Workload:
    """An architecture at an image size, on generated images, and how it is trained."""

    arch: str
    image_size: int
    batch_size: int
    config: Finetune  # of which optimizer, lr, weight_decay and augmentation count
    accelerator: Accelerator

    @property
    def view(self) -> preprocess.View:
        return preprocess.view(self.arch, self.image_size)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def data(self, batches: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, 32, 32, 3) uint8 and labels (N,) that fill so many batches."""
        rng, count = np.random.default_rng(0), batches * self.batch_size
        return rng.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8), rng.integers(CLASSES, size=count)

    def fixed_batch(self) -> tuple[Tensor, Tensor]:
        """One batch of inputs and labels that lies on the device."""
        raw, labels = self.data(1)
        batch = torch.from_numpy(raw).to(self.device)
        return preprocess.to_input(batch, self.view), torch.from_numpy(labels).to(self.device)

    def plain_batches(self, batches: int, *, train: bool) -> Iterator[Any]:
        """So many batches of the plain loader, whose workers have started: that would count once in an epoch."""
        raw, labels = self.data(batches + 1)
        index = np.arange(len(raw))
        fed = iter(baseline.loader(raw, index, labels, self.view, batch_size=self.batch_size, train=train))
        next(fed)
        return itertools.islice(fed, batches)

    def prepared(self) -> tuple[nn.Module, Any, Trained]:
        """A network and its optimizer as this project trains them, without a schedule: no training ends here."""
        model = fast_cpu.to_device(models.build(self.arch, CLASSES, 0, self.image_size), self.device)
        config = self.config.model_copy(update={"schedule": "constant", "warmup": None})
        return loop.prepare(model.train(), config, 1, self.accelerator)

    def backbone(self) -> nn.Module:
        return models.without_head(models.build(self.arch, CLASSES, 0, self.image_size))


def timed(device: torch.device, work: Callable[[], Any]) -> float:
    """Seconds until the device has done it."""

    def now() -> float:
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        return time.perf_counter()

    start = now()
    work()
    return now() - start


def training_here(workload: Workload) -> Way:
    """This project's own loop over one epoch of so many batches."""
    network, optimizer, trained = workload.prepared()

    def way(batches: int) -> float:
        raw, labels = workload.data(batches)
        index = np.arange(len(raw))
        data = Data(prefetch.resident(raw, workload.device), index, labels, index[:0], labels[:0])
        fed = shuffled(data, 1, workload.config, view=workload.view, seed=0, accelerator=workload.accelerator)
        state = TrainState(sums=torch.zeros(3, device=workload.device))
        return timed(
            workload.device, lambda: loop.train_epoch(network, fed, F.cross_entropy, optimizer, trained, state)
        )

    return way


def training_roof(workload: Workload) -> Way:
    """The same network and optimizer stepping on one batch that lies on the device, and nothing else."""
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
    model = models.build(workload.arch, CLASSES, 0, workload.image_size).to(workload.device)
    opt = baseline.optimizer(model, workload.config.lr, workload.config.weight_decay)

    def way(batches: int) -> float:
        fed = workload.plain_batches(batches, train=True)
        return timed(workload.device, lambda: baseline.train(model, fed, opt, workload.device))

    return way


def embedding_here(workload: Workload) -> Way:
    model = fast_cpu.to_device(fast_cpu.fold(workload.backbone()), workload.device)

    def way(batches: int) -> float:
        raw, _ = workload.data(batches)
        found = inference.outputs(model, raw, np.arange(len(raw)), view=workload.view, accelerator=workload.accelerator)
        return timed(workload.device, lambda: deque(found, maxlen=0))

    return way


def embedding_roof(workload: Workload) -> Way:
    model = fast_cpu.to_device(fast_cpu.fold(workload.backbone()), workload.device).eval()
    inputs, _ = workload.fixed_batch()

    @torch.inference_mode()
    def embed(batches: int) -> None:
        for _ in range(batches):
            with workload.accelerator.autocast():
                model(inputs)

    return lambda batches: timed(workload.device, lambda: embed(batches))


def embedding_plain(workload: Workload) -> Way:
    model = workload.backbone().to(workload.device)

    def way(batches: int) -> float:
        fed = workload.plain_batches(batches, train=False)
        return timed(workload.device, lambda: baseline.outputs(model, fed, workload.device))

    return way


TRAINING = {"this": training_here, "roof": training_roof, "plain": training_plain}
EMBEDDING = {"this": embedding_here, "roof": embedding_roof, "plain": embedding_plain}


def take_turns(ways: Mapping[str, Way], *, batches: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one that counts for nothing."""
    for way in ways.values():
        way(max(1, batches // 4))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way(batches))
    return seconds


def summary(seconds: Mapping[str, list[float]], images: int) -> dict[str, dict[str, float]]:
    """Images per second of each way, and this project's ratio to the others: medians over rounds, lowest and highest.

    A ratio is taken round by round, where both ways met the same machine.
    """
    rates = {name: [images / taken for taken in each] for name, each in seconds.items()}
    ratios = {
        f"this / {other}": [ours / theirs for ours, theirs in zip(rates["this"], rates[other], strict=True)]
        for other in ("roof", "plain")
    }
    return {
        name: {"median": statistics.median(values), "low": min(values), "high": max(values)}
        for name, values in (rates | ratios).items()
    }


WAYS = ("this", "roof", "plain", "this / roof", "this / plain")


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.bench throughput",
        description="Images per second by this project, at the device's limit and by the plain recipe.",
    )
    parser.add_argument("--rounds", type=int, default=7, help="of each way, in turns")
    parser.add_argument("--images", type=int, default=1280, help="of each way in each round")
    found = parser.parse_args(words)
    for name in ("rounds", "images"):
        if getattr(found, name) < 1:
            raise UserError(f"--{name} {getattr(found, name)}: allowed is 1 or more")
    return found


def line(name: str, found: dict[str, Any]) -> str:
    cells = [f"{found[way]['median']:,.0f}" if "/" not in way else f"{found[way]['median']:.2f}" for way in WAYS]
    return "  ".join([f"{name:44}", *(f"{cell:>12}" for cell in cells)])


def main(words: Sequence[str]) -> None:
    arguments, settings = parse(words), load()
    accelerator = runtime.start(settings.device, settings.precision)
    report: dict[str, Any] = {}
    print("  ".join([f"{'images/s, medians':44}", *(f"{way:>12}" for way in WAYS)]))
    for role in ("resnet", "convnext"):
        arch = getattr(settings, role).arch
        for what, ways, batch_size in (
            ("train", TRAINING, settings.finetune.batch_size),
            ("embed", EMBEDDING, inference.batch_size(settings.image_size, accelerator.device)),
        ):
            workload = Workload(arch, settings.image_size, batch_size, settings.finetune, accelerator)
            batches = max(1, arguments.images // batch_size)
            made = {name: way(workload) for name, way in ways.items()}
            seconds = take_turns(made, batches=batches, rounds=arguments.rounds)
            name = f"{what} {arch}, {settings.image_size} px, batch {batch_size}"
            report[name] = summary(seconds, batches * batch_size)
            print(line(name, report[name]), flush=True)
    environment = runtime.environment(accelerator)
    files.write_json(paths.metrics("bench"), {"bench": report, "rounds": arguments.rounds, "environment": environment})
    print(f"{arguments.rounds} rounds; {environment[0]}\n{paths.metrics('bench')}")
