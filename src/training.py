"""The one training loop, and what is trained when. For the stages `finetune_*`."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from src import seeds, sharding
from src.errors import UserError
from src.feeding import Images, gathered
from src.images import View, crop, draw_crops, to_input
from src.inference import predict
from src.models import freeze_backbone


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images gave: means over images, never over batches."""

    number: int  # from 1
    train_loss: float  # cross-entropy in nats, of the augmented images, while training
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    whole: bool  # whether the whole network was trained, or its head alone
    images: int  # trained on in this epoch
    seconds: float  # for training, without validation

    def beats(self, other: "Epoch") -> bool:
        """By validation accuracy, ties by the lower validation loss."""
        return (self.val_accuracy, -self.val_loss) > (other.val_accuracy, -other.val_loss)

    def results(self) -> dict[str, float]:
        """What was learnt, without what it took: the same at every run with the same seed."""
        return {name: value for name, value in asdict(self).items() if name not in ("whole", "images", "seconds")}

    def __str__(self) -> str:
        train = f"train loss {self.train_loss:.4f}, accuracy {self.train_accuracy:.4f}"
        val = f"val loss {self.val_loss:.4f}, accuracy {self.val_accuracy:.4f}"
        return f"epoch {self.number}: {train}; {val}; {self.images / self.seconds:,.0f} images/s"


@dataclass(frozen=True)
class Data:
    """Images (N, H, W, 3) uint8, and for training and validation the indices (n,) into them and labels (n,)."""

    images: Images
    train_index: np.ndarray
    train_labels: np.ndarray
    val_index: np.ndarray
    val_labels: np.ndarray

    @classmethod
    def of(cls, images: Images, subset: Mapping[str, np.ndarray]) -> "Data":
        """Of a subset as `subsets.subset` gives it."""
        return cls(images, *(subset[part] for part in ("train_index", "train_labels", "val_index", "val_labels")))


def rate_at(step: int, steps: int, schedule: str, warmup: float) -> float:
    """The factor of the learning rate at a step: `constant`; `cosine` to 0; `one_cycle`, up and then down to 0.

    One-cycle is Smith and Topin's super-convergence (2018) in its linear form; it rises for a share `warmup` of steps.
    """
    done = step / steps
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if schedule == "one_cycle":
        return min((done + 1 / steps) / warmup, (1 - done) / (1 - warmup), 1.0)
    return 1.0


def make_optimizer(model: nn.Module, optimizer: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam, or SGD with Nesterov momentum 0.9, for what is not frozen; fused, which saves a tenth of a step."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer == "adam":
        return torch.optim.Adam(learning, lr, weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(learning, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay, fused=True)


def phases(method: str, epochs: int) -> list[tuple[bool, int]]:
    """What a method of fine-tuning trains, and for how many epochs: (the whole network?, epochs).

    `full` trains everything, `head` the new head alone. `lp_ft` (Kumar et al. 2022) first probes, then fine-tunes from
    the probe's head: it splits the same epochs between the two, so that no method is given more of them.
    """
    probe = epochs // 2
    return {
        "full": [(True, epochs)],
        "head": [(False, epochs)],
        "lp_ft": [(False, probe), (True, epochs - probe)],
    }[method]


def finetune(model: nn.Module, data: Data, *, method: str, epochs: int, **recipe: Any) -> Iterator[Epoch]:
    """Train in place by a method, phase after phase, each with a schedule of its own; see `train`."""
    done = 0
    for whole, count in phases(method, epochs):
        if whole:
            model.requires_grad_(True)
        else:
            freeze_backbone(model)
        yield from train(model, data, epochs=count, first=done + 1, **recipe)
        done += count


def train(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    first: int = 1,
    batch_size: int,
    optimizer: str,
    lr: float,
    weight_decay: float,
    schedule: str,
    warmup: float,
    augment: bool,
    view: View,
    seed: int,
    accelerator: Accelerator,
) -> Iterator[Epoch]:
    """Train in place with cross-entropy, and yield after each epoch, when `model` holds that epoch's weights.

    The first is numbered `first`. A network of which a part is frozen runs as it will when it is evaluated: neither its
    running statistics nor its dropout change. Several processes share every batch.

    Raises:
        UserError: the loss is no longer a number, or the processes cannot share a batch.
    """
    batch_size = min(batch_size, len(data.train_index))
    steps = len(data.train_index) // batch_size  # of an epoch
    whole = all(parameter.requires_grad for parameter in model.parameters())
    opt = make_optimizer(model, optimizer, lr, weight_decay)
    rate = partial(rate_at, steps=epochs * steps, schedule=schedule, warmup=warmup)
    learner, opt, plan = prepare(model, opt, rate, accelerator)
    for number in range(first, first + epochs):
        start = time.perf_counter()
        torch.manual_seed(seeds.derive(seed, "dropout", number))
        fed = shuffled(data, number, batch_size, augment, view, seed, accelerator)
        bar = tqdm(fed, f"epoch {number}", steps, unit="batch", leave=False, disable=None)
        learnt = one_pass(learner.train(whole), bar, opt, plan, accelerator)
        seconds = time.perf_counter() - start
        known = evaluate(model, data, view, accelerator)
        if not math.isfinite(learnt[0] + known[0]):
            raise UserError(f"finetune.lr = {lr}: the loss is no longer a number in epoch {number}; try a smaller rate")
        yield Epoch(number, *learnt, *known, whole, steps * batch_size, seconds)
    accelerator.free_memory(learner, opt)


def prepare(
    model: nn.Module, opt: torch.optim.Optimizer, rate: Callable[[int], float], accelerator: Accelerator
) -> tuple[nn.Module, AcceleratedOptimizer, LambdaLR]:
    """The network and its optimizer as accelerate runs them, and the plan by which the rate of learning follows."""
    plan = LambdaLR(opt, rate)
    learner, prepared = accelerator.prepare(sharding.share_layers(model, accelerator), opt)
    return learner, prepared, plan


def shuffled(
    data: Data, epoch: int, batch_size: int, augment: bool, view: View, seed: int, accelerator: Accelerator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch, which (seed, epoch) alone decide; see `feed`.

    Every batch has the same size; the images that do not fill the last one are left out of that epoch.
    """
    order = seeds.generator(seed, "order", epoch).permutation(len(data.train_index))
    crops = torch.Generator().manual_seed(seeds.derive(seed, "augment", epoch)) if augment else None
    return feed(data, order, batch_size, crops, view, accelerator)


def feed(
    data: Data,
    order: np.ndarray,
    batch_size: int,
    crops: torch.Generator | None,
    view: View,
    accelerator: Accelerator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches in the given order: inputs (B, 3, S, S) float32, augmented where `crops` is given; labels (B,).

    One of several processes is given its own part of each batch: the images and crops that one alone would see there.
    """
    own = sharding.own(batch_size, accelerator)
    parts = [order[start : start + batch_size][own] for start in range(0, len(order) - batch_size + 1, batch_size)]
    pictures = gathered(data.images, (data.train_index[part] for part in parts), accelerator.device)
    for part, batch in zip(parts, pictures, strict=True):  # (B, H, W, 3)
        if crops:
            rows, columns = draw_crops(batch_size, batch.shape[1], batch.shape[2], crops)
            batch = crop(batch, rows[own], columns[own])
        labels = torch.from_numpy(data.train_labels[part]).to(accelerator.device, non_blocking=True)  # (B,)
        yield to_input(batch, view), labels


def one_pass(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    opt: AcceleratedOptimizer,
    plan: LambdaLR,
    accelerator: Accelerator,
) -> tuple[float, float]:
    """One step of the optimizer for each batch; the mean loss and accuracy over all images, summed on the device."""
    sums, seen = torch.zeros(2, device=accelerator.device), 0  # of the losses and right answers; images
    for inputs, labels in batches:
        logits = model(inputs)  # (B, K)
        loss = F.cross_entropy(logits, labels)
        opt.zero_grad()
        accelerator.backward(loss)
        opt.step()
        plan.step()
        sums += torch.stack((loss.detach() * len(labels), (logits.argmax(1) == labels).sum()))
        seen += len(labels) * accelerator.num_processes
    loss_sum, correct = accelerator.reduce(sums, "sum").tolist()
    return loss_sum / seen, correct / seen


def evaluate(model: nn.Module, data: Data, view: View, accelerator: Accelerator) -> tuple[float, float]:
    """Cross-entropy and accuracy on the validation images, which are never augmented."""
    logits = torch.from_numpy(predict(model, data.images, data.val_index, view=view, accelerator=accelerator))  # (n, K)
    labels = torch.from_numpy(data.val_labels)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def cost(history: Sequence[Epoch], macs: int) -> dict[str, Any]:
    """What training took: images, seconds without validation, images per second of the median epoch, arithmetic.

    Args:
        macs: multiply-accumulates of one image's forward pass. The backward pass of a whole network takes twice as many
            again (gradients of the inputs and of the weights of every layer); a frozen backbone has none.
    """
    rates = [epoch.images / epoch.seconds for epoch in history]
    return {
        "images": sum(epoch.images for epoch in history),
        "train_seconds": sum(epoch.seconds for epoch in history),
        "train_images_per_second": statistics.median(rates),
        "train_macs": sum(epoch.images * macs * (3 if epoch.whole else 1) for epoch in history),
    }
