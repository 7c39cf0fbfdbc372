"""Loss, optimizer, learning-rate factor, and the exponential moving average (EMA) of the weights."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src.device.runtime import exempt_from_compiler
from src.finetune.config import Finetune

Loss = Callable[[Tensor, Tensor], Tensor]  # logits (B, K), and labels (B,) or soft ones (B, K) -> the mean over images


def make_loss(config: Finetune, train_labels: np.ndarray, device: torch.device) -> Loss:
    """The training loss: cross-entropy with label smoothing (Szegedy et al. 2016), balanced as `config.balance` says.

    `weights` weighs every image by `inverse_frequency` of its class. `logit_adjustment` adds the log prior of each
    class to its logit (Menon et al. 2021, equation 10, tau = 1) in training alone, so that the logits of the network
    itself are for classes that are equally frequent. Other values change nothing here.

    Args:
        train_labels: (n,) in 0..K-1; every class occurs.
    """
    counts, smoothing = np.bincount(train_labels), config.label_smoothing
    if config.balance == "weights":
        weight = torch.tensor(inverse_frequency(counts), dtype=torch.float32, device=device)
        return partial(weighted, weight=weight, label_smoothing=smoothing)
    if config.balance == "logit_adjustment":
        prior = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32, device=device)
        return partial(adjusted, prior=prior, label_smoothing=smoothing)
    return partial(F.cross_entropy, label_smoothing=smoothing)


def inverse_frequency(counts: np.ndarray) -> np.ndarray:
    """n / (K n_k) for each class: the mean over all n images is 1, as with scikit-learn's `balanced`."""
    return counts.sum() / (len(counts) * counts)


def weighted(logits: Tensor, labels: Tensor, *, weight: Tensor, label_smoothing: float) -> Tensor:
    """The weighted sum divided by the number of images, not by the sum of their weights as `reduction="mean"` does.

    A batch without rare images then counts less than one with them, several processes that share a batch agree with a
    single one, and soft labels are divided as others are.
    """
    total = F.cross_entropy(logits, labels, weight, reduction="sum", label_smoothing=label_smoothing)
    return total / len(logits)


def adjusted(logits: Tensor, labels: Tensor, *, prior: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy of logits to which the log prior of each class is added."""
    return F.cross_entropy(logits + prior, labels, label_smoothing=label_smoothing)


def dominant(labels: Tensor) -> Tensor:
    """The class (B,) that has the largest share of each label, soft (B, K) or not (B,)."""
    return labels if labels.ndim == 1 else labels.argmax(1)


class Adam(torch.optim.Adam):
    """PyTorch's, without the wrapper of `step` that imports PyTorch's compiler, a second of work, to do nothing."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        """Give the fused kernel views in the order of memory: it copies a gradient in any other, such as channels_last.

        A gradient of another layout than its weight's is copied to it here; so are moments that come from a file.
        """
        has_complex = super()._init_group(group, *lists)
        weights, gradients, *moments = lists[:4]
        for each, weight in enumerate(weights):
            strides = weight.stride()
            order = sorted(range(weight.ndim), key=strides.__getitem__, reverse=True)
            if weight.is_contiguous() or not weight.permute(order).is_contiguous():
                continue
            if gradients[each].stride() != weight.stride():
                gradients[each] = torch.empty_like(weight).copy_(gradients[each])
            for moment in (tensors[each] for tensors in moments):
                if moment.stride() != weight.stride():
                    moment.data = torch.empty_like(weight).copy_(moment)
            for tensors in (weights, gradients, *moments):
                tensors[each] = tensors[each].permute(order)
        return has_complex


class SGD(torch.optim.SGD):
    """PyTorch's, as `Adam` is."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


def make_optimizer(model: nn.Module, config: Finetune) -> torch.optim.Optimizer:
    """Adam or SGD with momentum, of all weights that are not frozen; fused saves a tenth of a step.

    Args:
        config: its `lr` is set, see `Finetune.at`.
    """
    assert config.lr is not None
    exempt_from_compiler(torch.optim.Optimizer, "add_param_group", "zero_grad", "state_dict", "load_state_dict")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.optimizer == "adam":
        return Adam(trainable, config.lr, weight_decay=config.weight_decay, fused=True)
    return SGD(
        trainable,
        config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def lr_factor(step: int, steps: int, schedule: str, warmup: float) -> float:
    """Learning-rate factor at a step, from 0: `constant`; `cosine` to 0; `one_cycle`, up and then down to 0.

    All of them rise linearly for a share `warmup` of the steps. One-cycle is Smith and Topin's super-convergence (2018)
    in its linear form; cosine is Loshchilov and Hutter's (2017) without restarts.
    """
    done = step / steps
    if schedule == "one_cycle":
        return min((done + 1 / steps) / warmup, (1 - done) / (1 - warmup), 1.0)
    rise = min((done + 1 / steps) / warmup, 1.0) if warmup else 1.0
    if schedule == "cosine":
        return rise * (1 + math.cos(math.pi * max(0.0, done - warmup) / (1 - warmup))) / 2
    return rise


def make_ema(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """The EMA of weights and running statistics; None without a decay.

    After every step the average keeps a share `decay` of itself and takes the rest from the network (Polyak and
    Juditsky 1992 is the plain mean); after the first step it equals the network.
    """
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


@contextmanager
def ema_weights(ema: AveragedModel | None, model: nn.Module) -> Iterator[None]:
    """In the block the network has the weights of the EMA, if there is one; afterwards its own again."""
    if ema is None:
        yield
        return
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(ema.module.state_dict())
    try:
        yield
    finally:
        model.load_state_dict(own)
