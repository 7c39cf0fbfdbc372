"""The part of a network that a training changes, and what that part is given.

Frozen blocks are in evaluation mode, so their outputs for an image never change. Where images are not augmented they
are computed once, and the blocks that follow are trained on them.
"""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from src.device import runtime
from src.device.prefetch import Images
from src.finetune.batches import Data
from src.finetune.config import Finetune
from src.nets import blocks, models
from src.nets.blocks import Cut
from src.nets.inference import predict
from src.nets.preprocess import View

ROOM = 2**31  # bytes that outputs of frozen blocks may take on the device


@dataclass(frozen=True)
class Part:
    """A network to train on the images of `data`; behind frozen blocks, these "images" are their outputs.

    Args:
        whole: whether more than the head is trained; else all layers stay in evaluation mode.
        frozen: blocks that stay in it.
        seconds: that computing the outputs of frozen blocks took.
    """

    network: nn.Module
    data: Data
    view: View
    whole: bool = True
    frozen: list[nn.Module] = field(default_factory=list)
    seconds: float = 0.0

    def start(self, network: nn.Module) -> nn.Module:
        """Put the network, as accelerate wrapped it, in the mode in which it is trained."""
        network.train(self.whole)
        for block in self.frozen:
            block.eval()
        return network


def trained_part(
    model: nn.Module, data: Data, config: Finetune, view: View, accelerator: Accelerator, *, whole: bool
) -> Part:
    """Freeze what a training leaves as it is, see `Finetune.freeze`, and cut it off where its outputs can be kept.

    Args:
        whole: train all blocks but those that the config excepts, which stay in evaluation mode: no dropout, batch-norm
            statistics fixed. Else the head alone is trained, and all layers stay in it.
    """
    model = runtime.share_layers(model, accelerator)
    if not whole:
        return Part(models.freeze_backbone(model), data, view, whole=False)
    frozen = blocks.freeze_first(model, config.freeze, view.size)
    cut = blocks.cut(model, config.freeze, view.size)
    if cut is None or cut.rest is None or not kept(cut, data, config):
        return Part(model, data, view, frozen=frozen)
    begin = time.perf_counter()
    behind = outputs(cut.first, data, view, accelerator)
    return Part(cut.rest, behind, replace(view, done=True), seconds=time.perf_counter() - begin)


def kept(cut: Cut, data: Data, config: Finetune) -> bool:
    """Whether the outputs of frozen blocks are computed once: every epoch has the same, and there is room for them."""
    if cut.rest is None or config.augment or config.augments_batches or data.watched.augmented:
        return False
    return (len(data.train_index) + len(data.watched.index)) * cut.bytes <= ROOM


def outputs(first: nn.Module, data: Data, view: View, accelerator: Accelerator) -> Data:
    """The same data, with the outputs of a network's first blocks in the place of images; they are on the device."""
    last = torch.channels_last if accelerator.device.type != "mps" else torch.contiguous_format  # see specialised.place

    def of(images: Images, index: np.ndarray) -> Tensor:
        found = torch.from_numpy(predict(first, images, index, view=view, accelerator=accelerator))
        return found.to(accelerator.device).contiguous(
            memory_format=last if found.ndim == 4 else torch.contiguous_format
        )

    images, watched = of(data.images, data.train_index), data.watched
    if len(watched.index):
        watched = replace(watched, images=of(watched.images, watched.index), index=np.arange(len(watched.index)))
    return Data(images, np.arange(len(images)), data.train_labels, watched)
