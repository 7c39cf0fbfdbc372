"""What the bench times: an architecture at an image size, on generated images."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from src.bench import baseline
from src.finetune import loop
from src.finetune.checkpoint import Trained
from src.finetune.config import DEFAULT_LR, Finetune
from src.nets import folding, models, preprocess, specialised

Way = Callable[[int], float]  # batches -> seconds
SIDE, CLASSES = 32, 10  # of the generated images, like CIFAR-10's


@dataclass(frozen=True)
class Workload:
    """A network, and batches for it.

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

    @property
    def dtype(self) -> torch.dtype:
        """The precision of products in training."""
        return {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.accelerator.mixed_precision]

    @property
    def lr(self) -> float:
        return self.config.lr or DEFAULT_LR

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.arch}, {self.image_size} px, batch {self.batch_size}, {dtype}"

    def data(self, batches: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, 32, 32, 3) uint8 and labels (N,) for so many batches."""
        rng, count = np.random.default_rng(0), batches * self.batch_size
        return rng.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8), rng.integers(CLASSES, size=count)

    def inputs(self, batches: int) -> list[Tensor]:
        """So many batches of inputs in the default layout, on the device."""
        raw = torch.from_numpy(self.data(batches)[0]).to(self.device)
        return [preprocess.to_input(part, self.view).contiguous() for part in raw.split(self.batch_size)]

    def baseline_batches(self, batches: int, *, train: bool) -> Iterator[Any]:
        """So many batches of the baseline's loader. Its workers have started, which happens once in an epoch."""
        raw, labels = self.data(batches + 1)
        index = np.arange(len(raw))
        loader = iter(baseline.loader(raw, index, labels, self.view, batch_size=self.batch_size, train=train))
        next(loader)
        return itertools.islice(loader, batches)

    def network(self) -> nn.Module:
        """The network as its library makes it, with random weights."""
        return models.build(self.arch, CLASSES, 0, self.image_size)

    def backbone(self) -> nn.Module:
        """The same without its head."""
        return models.without_head(self.network())

    def training(self) -> tuple[nn.Module, Any, Trained]:
        """A network and its optimizer as this project trains them, with a constant learning rate."""
        model = specialised.place(self.network(), self.image_size, self.device)
        config = self.config.at(self.arch).model_copy(update={"schedule": "constant", "warmup": None})
        return loop.prepare(model.train(), config, 1, self.accelerator)

    def embedding(self) -> nn.Module:
        """A backbone as this project embeds with it."""
        return specialised.place(folding.fold(self.backbone()), self.image_size, self.device).eval()
