"""Images per second of this project in training and embedding, of plain code and of peers, and the machine's limit.

Each way is a function that runs a number of batches and returns the seconds. The ways take turns, so that other load on
the machine slows all of them alike.
"""

import argparse
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from src.bench import baseline, machine, peers, rules
from src.bench.machine import Limit, timed
from src.bench.workload import Way, Workload
from src.core.errors import UserError
from src.device import prefetch, runtime
from src.finetune import loop
from src.finetune.batches import Data, shuffled
from src.finetune.checkpoint import TrainState
from src.nets import inference
from src.nets.crops import Watched
from src.settings.settings import Settings, load
from src.storage import files, paths


def training_here(workload: Workload) -> Way:
    """Training by this project: its loop over one epoch."""
    network, optimizer, trained = workload.training()

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


def training_plain(workload: Workload) -> Way:
    """Training by the baseline."""
    model = workload.network().to(workload.device)
    opt = baseline.optimizer(model, workload.lr, workload.config.weight_decay)

    def way(batches: int) -> float:
        epoch = workload.baseline_batches(batches, train=True)
        return timed(workload.device, lambda: baseline.train(model, epoch, opt, workload.device))

    return way


def embedding_here(workload: Workload) -> Way:
    """Embedding by this project."""
    model = workload.embedding()

    def way(batches: int) -> float:
        raw, _ = workload.data(batches)
        blocks = inference.outputs(
            model, raw, np.arange(len(raw)), view=workload.view, accelerator=workload.accelerator
        )
        return timed(workload.device, lambda: deque(blocks, maxlen=0))

    return way


def embedding_plain(workload: Workload) -> Way:
    """Embedding by the baseline."""
    model = workload.backbone().to(workload.device)

    def way(batches: int) -> float:
        images = workload.baseline_batches(batches, train=False)
        return timed(workload.device, lambda: baseline.outputs(model, images, workload.device))

    return way


Ways = dict[str, Callable[[Workload], Way]]
TRAINING: Ways = {"this": training_here, "plain": training_plain}
EMBEDDING: Ways = {"this": embedding_here, "plain": embedding_plain}
Peers = dict[str, tuple[Callable[[Workload], Way], tuple[str, ...]]]  # with the packages that they need
TRAINING_PEERS: Peers = {"timm": (peers.training_timm, ("timm",)), "compile": (peers.training_compiled, ())}
EMBEDDING_PEERS: Peers = {
    "openvino": (peers.embedding_openvino, ("openvino",)),
    "onnxruntime": (peers.embedding_onnxruntime, ("onnxruntime", "onnxscript")),
    "compile": (peers.embedding_compiled, ()),
}


def take_turns(ways: Mapping[str, Way], *, batches: int, rounds: int) -> dict[str, list[float]]:
    """The seconds of each way in each round, after a short warm-up."""
    for way in ways.values():
        way(max(1, batches // 4))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way(batches))
    return seconds


def summary(seconds: Mapping[str, list[float]], images: int, limit: Limit) -> dict[str, dict[str, float]]:
    """By way: images per second over rounds, their median as a share of the machine's limit, and this project's ratio.

    Ratios are taken within a round, in which all ways had the same load on the machine.
    """
    rates = {name: [images / second for second in rounds] for name, rounds in seconds.items()}
    result = {}
    for name, values in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(rates["this"], values, strict=True)]
        result[name] = {
            **spread(values),
            "share_of_limit": statistics.median(values) / limit.rate,
            **{f"this_by_it_{part}": value for part, value in spread(ratios).items()},
        }
    return result


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line.

    Raises:
        UserError: a number is too small, or a peer is not installed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m src.bench throughput",
        description="Images per second of this project, of plain torchvision and of peers, and the machine's limit.",
    )
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each way")
    parser.add_argument("--images", type=int, default=1280, help="in each measurement")
    parser.add_argument("--size", type=int, help="pixels of an image; by default image_size of params.yaml")
    parser.add_argument(
        "--precision", choices=("auto", *runtime.MIXED), help="of training; by default that of params.yaml"
    )
    parser.add_argument("--archs", nargs="+", help="by default those of params.yaml")
    parser.add_argument("--shapes", action="store_true", help="print every way to compute every small map; * is used")
    known = list(dict.fromkeys([*TRAINING_PEERS, *EMBEDDING_PEERS]))
    parser.add_argument("--peers", nargs="*", choices=known, default=[], help="also time these")
    options = parser.parse_args(words)
    for name in ("rounds", "images"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: allowed is 1 or more")
    for name in options.peers:
        for _, packages in (each[name] for each in (TRAINING_PEERS, EMBEDDING_PEERS) if name in each):
            if missing := peers.missing(*packages):
                raise UserError(f"--peers {name}: {missing[0]} is not installed; it is in requirements-bench.txt")
    return options


def workload(settings: Settings, arch: str, size: int | None, accelerator: Accelerator, *, train: bool) -> Workload:
    """Batches as the settings have them in training, or as `inference` makes them."""
    size, config = size or settings.image_size, settings.finetune.at(arch)
    batch = config.batch_size if train else inference.batch_size(size, accelerator.device)
    return Workload(arch, size, batch, config, accelerator)


def measure(workload: Workload, options: argparse.Namespace, *, train: bool) -> dict[str, Any]:
    """Time all ways of a workload; print and return their summary, with the machine's rates and limit."""
    ways, others = (TRAINING, TRAINING_PEERS) if train else (EMBEDDING, EMBEDDING_PEERS)
    ways = ways | {name: make for name, (make, _) in others.items() if name in options.peers}
    batches = max(1, options.images // workload.batch_size)
    rates = machine.rates(workload.device, workload.dtype)
    network = workload.training()[0] if train else workload.embedding()
    limit = machine.limit(network, workload.image_size, workload.batch_size, rates, train=train)
    ready = {name: make(workload) for name, make in ways.items()}
    seconds = take_turns(ready, batches=batches, rounds=options.rounds)
    result = summary(seconds, batches * workload.batch_size, limit)
    what = f"{'train' if train else 'embed'} {workload}"
    print(f"{what}; machine {rates}; limit {limit.rate:,.0f} images/s, by {limit.by}")
    for name, each in result.items():
        rate = f"{each['median']:8,.0f} [{each['low']:,.0f}, {each['high']:,.0f}] images/s"
        ratio = "this / it {this_by_it_median:.2f} [{this_by_it_low:.2f}, {this_by_it_high:.2f}]".format(**each)
        print(f"  {name:12} {rate:36} {each['share_of_limit']:5.0%} of the limit   {ratio}", flush=True)
    rules.check(network, workload, train=train, show=options.shapes)
    return {what: result | {"limit": {"images_per_second": limit.rate, "set_by": limit.by, **asdict(rates)}}}


def main(words: Sequence[str]) -> None:
    """Measure training and embedding of both backbones, print a table and write metrics/bench_<precision>.json."""
    options, settings = parse(words), load()
    precision = options.precision or settings.precision
    report: dict[str, Any] = {}
    for arch in options.archs or (settings.resnet.arch, settings.convnext.arch):
        for train in (True, False):
            accelerator = runtime.start(settings.device, precision if train else "fp32")
            report |= measure(workload(settings, arch, options.size, accelerator, train=train), options, train=train)
    environment = runtime.environment(runtime.start(settings.device, precision))
    path = paths.metrics(f"bench_{environment['precision']}")
    files.write_json(path, {"bench": report, "rounds": options.rounds, "environment": environment})
    print(f"{options.rounds} rounds; {environment}\n{path}")
