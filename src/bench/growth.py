"""Time and memory of embedding, and of an epoch of training, as images multiply: time in proportion, memory flat.

Each measurement runs in a process of its own, since the peak of its memory is what counts, and reads generated images
from a file as the stages do.
"""

import argparse
import multiprocessing
import tempfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from src.bench.machine import timed
from src.bench.throughput import workload
from src.bench.workload import CLASSES, SIDE
from src.core.errors import UserError
from src.device import runtime
from src.finetune import loop
from src.finetune.batches import Data, shuffled
from src.finetune.checkpoint import TrainState
from src.nets import inference
from src.nets.crops import Watched
from src.settings.settings import load
from src.storage import files, paths, raw

BLOCK = 10_000  # images generated at once


class Measured(NamedTuple):
    """Seconds of the work, without starting; and the peak memory of its process in bytes."""

    seconds: float
    memory: int


def generate(path: Path, images: int) -> None:
    """A file of images (N, 32, 32, 3) uint8 that stages could read."""
    rng = np.random.default_rng(0)
    blocks = (min(BLOCK, images - start) for start in range(0, images, BLOCK))
    made = (rng.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8) for count in blocks)
    raw.write_images(path, made, (images, SIDE, SIDE, 3))


def embed(path: Path, arch: str, size: int) -> Measured:
    """Embed all images of a file."""
    accelerator = runtime.start("cpu", "fp32")
    work, images = workload(load(), arch, size, accelerator, train=False), raw.StoredImages(path)
    model = work.embedding()
    blocks = inference.outputs(model, images, np.arange(len(images)), view=work.view, accelerator=accelerator)
    seconds = timed(accelerator.device, lambda: deque(blocks, maxlen=0))
    return Measured(seconds, runtime.peak_memory(accelerator.device))


def train(path: Path, arch: str, size: int) -> Measured:
    """Train for an epoch on all images of a file."""
    accelerator = runtime.start("cpu", "fp32")
    work, images = workload(load(), arch, size, accelerator, train=True), raw.StoredImages(path)
    network, optimizer, trained = work.training()
    index, labels = np.arange(len(images)), np.arange(len(images)) % CLASSES
    data = Data(images, index, labels, Watched(images, index[:0], labels[:0]))
    epoch = shuffled(data, 1, work.config, view=work.view, seed=0, accelerator=accelerator)
    state = TrainState(sums=torch.zeros(3))
    seconds = timed(
        accelerator.device, lambda: loop.train_epoch(network, epoch, F.cross_entropy, optimizer, trained, state)
    )
    return Measured(seconds, runtime.peak_memory(accelerator.device))


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line.

    Raises:
        UserError: a number is too small.
    """
    parser = argparse.ArgumentParser(prog="python -m src.bench growth", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="the smallest number of images")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10, 100], help="times as many")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=SIDE, help="pixels of an image as the network sees it")
    options = parser.parse_args(words)
    if min(options.images, *options.factors) < 1:
        raise UserError("--images and --factors: allowed is 1 or more")
    return options


def main(words: Sequence[str]) -> None:
    """Measure every size, print a table and write metrics/growth.json."""
    options, report = parse(words), {}
    print(f"{options.arch}, {options.size} px; seconds of the work, and peak memory of its process")
    with tempfile.TemporaryDirectory() as folder:
        for work in (embed, train):
            for factor in options.factors:
                images, path = options.images * factor, Path(folder) / "images.npy"
                generate(path, images)
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    measured = process.submit(work, path, options.arch, options.size).result()
                rate = images / measured.seconds
                print(
                    f"{work.__name__} {images:>11,} images: {measured.seconds:8.1f} s, {rate:7,.0f} images/s, "
                    f"{measured.memory / 1e6:7,.0f} MB",
                    flush=True,
                )
                report[f"{work.__name__} {images}"] = measured._asdict() | {"images_per_second": rate}
    environment = runtime.environment(runtime.start("cpu", "fp32"))
    about = {"arch": options.arch, "image_size": options.size, "environment": environment}
    files.write_json(paths.metrics("growth"), {"growth": report} | about)
    print(paths.metrics("growth"))
