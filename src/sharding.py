"""One training in several processes that give together what one gives. For stages that `torchrun` started.

The global batch is the same images in the same order; each process takes its slice of it, and gradients are averaged.
Batch normalisation sees the whole batch on CUDA (SyncBatchNorm), and each process's slice on the CPU, where PyTorch has
no such layer; the running statistics that are kept are the first process's.
"""

import warnings

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from src.errors import UserError


def own(count: int, accelerator: Accelerator) -> slice:
    """This process's part of a batch of `count` images.

    Raises:
        UserError: the processes cannot share it evenly.
    """
    processes = accelerator.num_processes
    if count % processes:
        raise UserError(f"finetune.batch_size = {count}: {processes} processes cannot share it evenly; try a multiple")
    share = count // processes
    return slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)


class SharedStochasticDepth(nn.Module):
    """torchvision's StochasticDepth by rows, which drops from each image what one process alone would drop from it."""

    def __init__(self, p: float, accelerator: Accelerator) -> None:
        super().__init__()
        self.p, self.processes, self.process = p, accelerator.num_processes, accelerator.process_index

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        count = len(input)
        kept = torch.empty(count * self.processes, *[1] * (input.ndim - 1), dtype=input.dtype, device=input.device)
        kept = kept.bernoulli_(1 - self.p).div_(1 - self.p)
        return input * kept[self.process * count : (self.process + 1) * count]


def share_layers(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The same network, with the layers that look at a whole batch made for one that is spread over processes."""
    if accelerator.num_processes == 1:
        return model
    from torchvision.ops import StochasticDepth  # takes a second

    # The gradient of a trimmed kernel has another layout than its weight; a copy of so little costs nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    for name, layer in list(model.named_modules()):
        if isinstance(layer, StochasticDepth) and layer.mode == "row":
            model.set_submodule(name, SharedStochasticDepth(layer.p, accelerator))
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if accelerator.device.type == "cuda" else model
