"""The one training loop."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from src.core import seeds
from src.core.errors import DivergedError, UserError
from src.device import runtime
from src.finetune import checkpoint, optim
from src.finetune.batches import Data, shuffled
from src.finetune.checkpoint import Epoch, Point, Progress
from src.finetune.config import Recipe
from src.finetune.optim import lr_factor, make_optimizer
from src.nets.inference import predict
from src.nets.preprocess import View

ASK = 32  # steps after which a device is asked whether all is well, since it waits for the answer


def train(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    view: View,
    seed: int,
    accelerator: Accelerator,
    first: int = 1,
    progress: Progress | None = None,
    **recipe: Any,
) -> Iterator[Epoch]:
    """Train in place by a `Recipe`, and yield after each epoch, when `model` holds that epoch's weights.

    The first is numbered `first`, or is the one in which `progress` was interrupted. Running statistics and dropout of
    a network of which a part is frozen rest. Several processes share every batch.

    Raises:
        UserError: the loss is no number, a batch cannot be shared or does not fit, or someone asked to stop.
    """
    rule, progress = Recipe.of(recipe), progress or Progress()
    batch_size, steps = rule.batches(len(data.train_index))
    whole = all(parameter.requires_grad for parameter in model.parameters())
    learner, opt, plan = prepare(model, rule, epochs * steps, accelerator)
    loss_of = optim.make_loss(data.train_labels, rule.balance, rule.label_smoothing, accelerator.device)
    mended = partial(explained, rule.lr, partial(advice, model, view.size, accelerator.device, batch_size))
    progress.average = optim.make_ema(model, rule.ema)
    point, phase = progress.enter(first, steps, model, opt.optimizer, plan), progress.since(first)
    for number in range(point.epoch, first + epochs):
        if checkpoint.should_stop(phase, rule.patience):
            break
        progress.seed_generators(seeds.derive(seed, "dropout", number), accelerator.device)
        fed = bar(shuffled(data, number, rule, view, seed, accelerator, point.batches), point, steps)
        with mended(number):
            point = one_pass(learner.train(whole), fed, opt, plan, accelerator, progress, point, loss_of)
            with optim.ema_weights(progress.average, model):
                known = evaluate(model, data, view, accelerator)
                phase.append(Epoch(number, *point.means(), *known, whole, point.images, point.seconds))
                yield phase[-1]
        point = Point(number + 1)
        progress.pause(model, opt.optimizer, point, accelerator.device)
    progress.finish(model, opt.optimizer, point, accelerator.device)
    accelerator.free_memory(learner, opt)


def bar(fed: Iterator[tuple[Tensor, Tensor]], point: Point, steps: int) -> tqdm:
    """The same batches, with a bar where somebody looks at a terminal."""
    return tqdm(fed, f"epoch {point.epoch}", steps, initial=point.batches, unit="batch", leave=False, disable=None)


@contextmanager
def explained(lr: float, advice: Callable[[], str], epoch: int) -> Iterator[None]:
    """What a person can mend, as one line: a rate at which nothing is learnt, or a batch that does not fit."""
    try:
        yield
    except FloatingPointError as error:
        where = f"{error} of epoch {epoch}"
        raise DivergedError(f"finetune.lr = {lr}: the loss is no longer a number {where}; try a smaller rate") from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(advice()) from None


def prepare(
    model: nn.Module, rule: Recipe, steps: int, accelerator: Accelerator
) -> tuple[nn.Module, AcceleratedOptimizer, LambdaLR]:
    """The network and its optimizer as accelerate runs them, and the plan of the rate of learning over all steps."""
    opt = make_optimizer(model, rule.optimizer, rule.lr, rule.weight_decay)
    plan = LambdaLR(opt, partial(lr_factor, steps=steps, schedule=rule.schedule, warmup=rule.warmup))
    learner, prepared = accelerator.prepare(runtime.share_layers(model, accelerator), opt)
    return learner, prepared, plan


def one_pass(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    opt: AcceleratedOptimizer,
    plan: LambdaLR,
    accelerator: Accelerator,
    progress: Progress,
    point: Point,
    loss_of: optim.Loss = F.cross_entropy,
) -> Point:
    """One step of the optimizer for each batch, from a point on: where the epoch ends, with its sums over all images.

    An answer to a soft label is right where it is the class that has the largest part of it.

    Raises:
        FloatingPointError: a loss is no number; the message is the step, from 1. A device is asked every so often only.
        UserError: someone asked to stop.
    """
    sums = torch.tensor(point.sums, device=accelerator.device)  # of losses and right answers; steps with a finite loss
    start, done, seen = time.perf_counter() - point.seconds, point.batches, point.images
    for inputs, labels in batches:
        logits = model(inputs)  # (B, K)
        loss = loss_of(logits, labels)
        opt.zero_grad()
        accelerator.backward(loss)
        opt.step()
        plan.step()
        if progress.average is not None:
            progress.average.update_parameters(accelerator.unwrap_model(model))
        loss = loss.detach()
        sums += torch.stack((loss * len(labels), (logits.argmax(1) == optim.dominant(labels)).sum(), loss.isfinite()))
        done, seen = done + 1, seen + len(labels) * accelerator.num_processes
        if accelerator.device.type == "cpu" or done % ASK == 0:
            require_finite(sums)
        if progress.place.due():
            here = Point(point.epoch, done, seen, tuple(sums.tolist()), time.perf_counter() - start)
            progress.pause(model, opt.optimizer, here, accelerator.device)
    require_finite(sums)
    total = tuple(accelerator.reduce(sums, "sum").tolist())
    return Point(point.epoch, done, seen, total, time.perf_counter() - start)


def require_finite(sums: Tensor) -> None:
    """Raise where the sum of the losses is no number, with the first step whose loss was none."""
    if not math.isfinite(sums[0].item()):
        raise FloatingPointError(f"at step {int(sums[2].item()) + 1}")


def evaluate(model: nn.Module, data: Data, view: View, accelerator: Accelerator) -> tuple[float, float]:
    """Cross-entropy and accuracy on the validation images, which are never augmented.

    Raises:
        FloatingPointError: the cross-entropy is no number.
    """
    logits = torch.from_numpy(predict(model, data.images, data.val_index, view=view, accelerator=accelerator))  # (n, K)
    labels = torch.from_numpy(data.val_labels)
    loss = F.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):
        raise FloatingPointError("after the last step")
    return loss, (logits.argmax(1) == labels).float().mean().item()


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


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or should_reduce_batch_size(error)


def largest(fits: Callable[[int], bool], size: int) -> int:
    """The largest of size / 2, size / 4, ... that fits; 0 where not even 1 does."""
    while size > 1:
        size //= 2
        if fits(size):
            return size
    return 0


def learns(model: nn.Module, pixels: int, device: torch.device, size: int) -> bool:
    """Whether a network can take a batch of so many images forward and backward. Its gradients are lost."""
    model.zero_grad(set_to_none=True)
    gc.collect()  # what the failed attempt left behind
    clear_device_cache()
    try:
        inputs: Tensor = torch.zeros(size, 3, pixels, pixels, device=device)
        F.cross_entropy(model(inputs), torch.zeros(size, dtype=torch.long, device=device)).backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def advice(model: nn.Module, pixels: int, device: torch.device, size: int) -> str:
    """One line for a batch of `size` images that did not fit."""
    found = largest(lambda smaller: learns(model, pixels, device, smaller), size)
    told = f"{found} fits" if found else "not even 1 image fits; try a smaller image_size"
    return f"finetune.batch_size = {size}: out of memory on {device.type}; {told}"
