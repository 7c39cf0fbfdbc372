"""A training of a second, for tests of the loop."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from src.data import sources
from src.device import runtime
from src.finetune import loop
from src.finetune.batches import Data
from src.finetune.checkpoint import Epoch, TrainState
from src.finetune.config import Finetune
from src.finetune.methods import Setup
from src.nets import preprocess
from src.nets.crops import Watched

VIEW = preprocess.view("resnet18", 8, "weights")
CONFIG = {"epochs": 2, "batch_size": 16, "lr": 0.01, "weight_decay": 0.0}


def config(**changes: Any) -> Finetune:
    return Finetune(**CONFIG | changes)


def digits() -> Data:
    """70 images to train on, 30 to validate."""
    loaded = sources.digits()["train"]
    (pixels,) = loaded.images
    train, val = np.arange(70), np.arange(70, 100)
    return Data(pixels, train, loaded.labels[train], Watched(pixels, val, loaded.labels[val]))


def network(seed: int = 0) -> nn.Module:
    """All that a backbone has which training changes or which is random: convolution, batch statistics, dropout.

    Its second convolution has taps that see no pixel of a map of 6 x 6.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kernels = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 13, padding=6, groups=8)
        body = nn.Sequential(*kernels, nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten())
        return nn.Sequential(body, nn.Linear(8 * 36, 10))


def train(
    model: nn.Module,
    data: Data | None = None,
    *,
    seed: int = 0,
    state: TrainState | None = None,
    accelerator: Any = None,
    **changes: Any,
) -> Iterator[Epoch]:
    """The loop with some settings changed."""
    where = accelerator or runtime.start("cpu", "fp32")
    return loop.train(model, data or digits(), config(**changes), view=VIEW, seed=seed, accelerator=where, state=state)


def finetune(
    model: nn.Module, data: Data | None = None, method: str = "full", state: TrainState | None = None, **changes: Any
) -> Iterator[Epoch]:
    """Fine-tuning by a method with some settings changed."""
    changed = config(**changes)
    weights = {}, {"arch": "resnet18", "weights": "random"}
    cpu = runtime.start("cpu", "fp32")
    setup = Setup(weights, list("0123456789"), 8, "weights", 0, data or digits(), cpu, changed)
    return setup.train(model, method, changed, state or TrainState())
