"""The one stopwatch of all arms: the same images, batch norm folded, warm, several rounds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from src.core.records import Interval
from src.device import energy, memory
from src.device.prefetch import Images, gathered
from src.nets import folding, inference, specialised
from src.nets.preprocess import View, to_input

IMAGES = 256  # of the test images, that are answered again and again on a fast device
ROUNDS, FEWEST = 7, 3  # FEWEST where they take more than twice the time that they are meant to
MOST = 1000  # batches of a round
SECONDS, READOUT_SECONDS = 3.0, 0.5  # that all rounds are meant to take together

Answer = Callable[[np.ndarray], object]  # computes the answers to images by their index (n,)


@dataclass(frozen=True)
class Speed:
    """What one image takes: seconds in the median round, the fastest and the slowest; joules of a device, if known."""

    seconds: Interval
    joules: float | None
    device: torch.device

    def fields(self) -> dict[str, Any]:
        """As `Evaluation` has them."""
        return {
            "images_per_second": 1 / self.seconds.value,
            "images_per_second_low": 1 / self.seconds.high,
            "images_per_second_high": 1 / self.seconds.low,
            "joules_per_image": self.joules,
        }


def measure(answer: Answer, index: np.ndarray, *, batch: int, seconds: float, device: torch.device) -> Speed:
    """Time an arm on the first images of an index (N,), repeated or cut to whole batches that fill the rounds.

    Args:
        answer: returns when the answers are there, not before.
        seconds: for all rounds.
        device: whose energy is measured.
    """
    index = index[:IMAGES]
    few = np.resize(index, batch)
    answer(few)  # which allocates memory and chooses algorithms
    batches = min(MOST, max(1, round(seconds / ROUNDS / _seconds(answer, few))))
    many = np.resize(index, batches * batch)
    meter = energy.meter(device)
    start = meter() if meter else 0.0
    rounds: list[float] = []
    while len(rounds) < ROUNDS and (len(rounds) < FEWEST or sum(rounds) * len(many) < 2 * seconds):
        rounds.append(_seconds(answer, many) / len(many))
    joules = (meter() - start) / (len(rounds) * len(many)) if meter else None
    return Speed(Interval(statistics.median(rounds), min(rounds), max(rounds)), joules, device)


def _seconds(answer: Answer, index: np.ndarray) -> float:
    start = time.perf_counter()
    answer(index)
    return max(time.perf_counter() - start, 1e-9)  # a clock may not have moved


def network(model: nn.Module, images: Images, index: np.ndarray, *, view: View, accelerator: Accelerator) -> Speed:
    """Time a network in this process, from images (N, H, W, 3) uint8 in memory or in a file to its outputs.

    Args:
        model: as `models.restore` gives it, with or without its head; it is folded in place and moved to the device.
        index: (n,) of the images.
    """
    device = accelerator.device
    model = specialised.place(folding.fold(model), view.size, device)
    batch = inference.batch_size(view.size, device)

    @torch.inference_mode()
    def answer(index: np.ndarray) -> None:  # by batches of the size that fits
        for inputs in gathered(images, (part for part, _ in inference.batches(index, batch)), device):
            with accelerator.autocast():
                rows = model(to_input(inputs, view))
        rows.cpu()  # waits for the device

    while True:
        try:
            return measure(answer, index, batch=batch, seconds=SECONDS, device=device)
        except (RuntimeError, MemoryError, OSError) as error:
            batch = memory.halved(error, batch, image_size=view.size, device=device)
        memory.free(device)


def readout(
    logits: Callable[[np.ndarray], np.ndarray], features: np.ndarray, index: np.ndarray, backbone: Speed
) -> Speed:
    """Time a backbone and its read-out, which the processor computes from features (N, D), one after the other."""

    def answer(index: np.ndarray) -> None:
        for start in range(0, len(index), IMAGES):
            logits(features[index[start : start + IMAGES]])

    head = measure(answer, index, batch=IMAGES, seconds=READOUT_SECONDS, device=backbone.device)
    seconds = (getattr(backbone.seconds, name) + getattr(head.seconds, name) for name in ("value", "low", "high"))
    joules = None if backbone.joules is None or head.joules is None else backbone.joules + head.joules
    return Speed(Interval(*seconds), joules, backbone.device)
