"""Networks on the device `meta`, which are built and run in no time: layers, names and shapes without numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import nn
from torchvision.models import regnet

from src.nets import models


@contextmanager
def numberless() -> Iterator[None]:
    """What is built inside holds no numbers, but for the widths of RegNet, which it computes in tensors."""
    widths = regnet.BlockParams.from_init_params

    def on_cpu(*given, **named):
        with torch.device("cpu"):
            return widths(*given, **named)

    with patch.object(regnet.BlockParams, "from_init_params", on_cpu), torch.device("meta"):
        yield


def skeleton(arch: str, outputs: int = 7, image_size: int | None = None) -> nn.Module:
    with numberless():
        return models.build(arch, outputs, 0, image_size).eval()


def run(model: nn.Module, size: int) -> tuple[int, ...]:
    return tuple(model(torch.zeros(2, 3, size, size, device="meta")).shape)
