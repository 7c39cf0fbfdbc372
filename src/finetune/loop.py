"""The one training loop."""

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from src.core import seeds
from src.core.errors import DivergedError, UserError, is_out_of_memory
from src.finetune.batches import Data, shuffled
from src.finetune.checkpoint import Epoch, Trained, TrainState
from src.finetune.config import Finetune
from src.finetune.optim import Loss, ema_weights, lr_factor, make_ema, make_loss, make_optimizer
from src.finetune.part import Part, trained_part
from src.nets.inference import predict
from src.nets.preprocess import View


class Phase(NamedTuple):
    """Consecutive epochs of a training, from number `first`. `whole`: see `trained_part`."""

    whole: bool
    first: int
    epochs: int


def train(
    model: nn.Module,
    data: Data,
    config: Finetune,
    *,
    view: View,
    seed: int,
    accelerator: Accelerator,
    state: TrainState | None = None,
    phase: Phase | None = None,
) -> Iterator[Epoch]:
    """Train in place, processes sharing each batch, and yield after each epoch, while the model holds its weights.

    Args:
        state: from which an interrupted run goes on.
        phase: by default all epochs of the config, of the whole network.

    Raises:
        UserError: the loss is not a number, a batch cannot be shared or does not fit, or someone asked to stop.
    """
    state, (whole, first, epochs) = state or TrainState(), phase or Phase(True, 1, config.epochs)
    batch_size, steps = config.batches(len(data.train_index))
    part = trained_part(model, data, config, view, accelerator, whole=whole)
    network, optimizer, trained = prepare(model, config, epochs * steps, accelerator, part.network)
    loss_fn = make_loss(config, data.train_labels, accelerator.device)
    state.restore(trained, first, steps, part.seconds)
    while state.epoch < first + epochs and not state.should_stop(first, config.patience):
        state.seed_generators(seeds.derive(seed, "dropout", state.epoch), accelerator.device)
        batches = progress_bar(epoch_batches(part, state, config, seed, accelerator), state, steps)
        with explained(config, state.epoch, batch_size, accelerator.device):
            train_epoch(part.start(network), batches, loss_fn, optimizer, trained, state)
            with ema_weights(trained.ema, model):
                measured = validate(part, seed, state.epoch, accelerator)
                yield state.end_epoch(trained, *measured, whole=whole)
        state.next_epoch()
        state.save_if_due(trained)
    state.keep_end(trained)
    accelerator.free_memory(network, optimizer)


def train_epoch(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss_fn: Loss,
    optimizer: Any,
    trained: Trained,
    state: TrainState,
) -> None:
    """One step of the optimizer for each batch, counted in `state`.

    Raises:
        FloatingPointError: a loss is not a number.
        UserError: someone asked to stop.
    """
    accelerator, start = trained.accelerator, time.perf_counter() - state.seconds
    for inputs, labels in batches:
        logits = network(inputs)  # (B, K)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        trained.scheduler.step()
        if trained.ema is not None:
            trained.ema.update_parameters(trained.model)
        state.count(loss.detach(), logits, labels, accelerator.num_processes)
        state.seconds = time.perf_counter() - start
        if state.file.due():
            state.save_if_due(trained)
    state.require_finite()
    state.seconds = time.perf_counter() - start


def prepare(
    model: nn.Module, config: Finetune, steps: int, accelerator: Accelerator, part: nn.Module | None = None
) -> tuple[nn.Module, Any, Trained]:
    """The network and its optimizer as accelerate runs them, and what a training changes at each of `steps` steps.

    Args:
        part: what is run of the model, by default the whole.
    """
    optimizer = make_optimizer(model, config)
    factor = partial(lr_factor, steps=steps, schedule=config.schedule, warmup=config.warmup_share)
    trained = Trained(model, optimizer, LambdaLR(optimizer, factor), make_ema(model, config.ema), accelerator)
    return *accelerator.prepare(part or model, optimizer), trained


def epoch_batches(
    part: Part, state: TrainState, config: Finetune, seed: int, accelerator: Accelerator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of the present epoch that were not trained on yet."""
    return shuffled(
        part.data, state.epoch, config, view=part.view, seed=seed, accelerator=accelerator, skip=state.batch
    )


def progress_bar(batches: Iterator[tuple[Tensor, Tensor]], state: TrainState, steps: int) -> tqdm:
    """The same batches, with a bar if the output is a terminal."""
    return tqdm(batches, f"epoch {state.epoch}", steps, initial=state.batch, unit="batch", leave=False, disable=None)


@contextmanager
def explained(config: Finetune, epoch: int, batch_size: int, device: torch.device) -> Iterator[None]:
    """Turn what a user can mend into one line: a learning rate that diverges, or a batch that does not fit."""
    try:
        yield
    except FloatingPointError as error:
        raise DivergedError(
            f"finetune.lr = {config.lr}: the loss is no longer a number {error} of epoch {epoch}; try a smaller "
            "learning rate"
        ) from None
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"finetune.batch_size = {batch_size}: out of memory on {device.type}; try a smaller one, or a smaller "
            "image_size"
        ) from None


def validate(part: Part, seed: int, epoch: int, accelerator: Accelerator) -> tuple[float, float, float]:
    """Cross-entropy and accuracy on the images that are watched after an epoch, and the seconds that it took.

    Raises:
        FloatingPointError: the cross-entropy is not a number.
    """
    start, watched = time.perf_counter(), part.data.watched
    found = predict(part.network, *watched.at(seed, epoch), view=part.view, accelerator=accelerator)  # (n, K)
    logits, target = torch.from_numpy(found), torch.from_numpy(watched.labels)
    loss = F.cross_entropy(logits, target).item()
    if not math.isfinite(loss):
        raise FloatingPointError("after the last step")
    return loss, (logits.argmax(1) == target).double().mean().item(), time.perf_counter() - start


def cost(history: Sequence[Epoch], macs: int, watched: int, frozen: int = 0, kept: int = 0) -> dict[str, Any]:
    """The cost of some epochs: images, seconds, images per second of training in the median epoch, arithmetic.

    Args:
        watched: images that were measured after every epoch; their forward passes are part of the arithmetic and time.
        macs: multiply-accumulates of one image's forward pass. The backward pass of a whole network takes twice as many
            again (gradients of the inputs and of the weights of every layer); frozen layers have none.
        frozen: those of `macs` that are of frozen blocks, where the rest of the network is trained.
        kept: images for which these blocks are computed once; 0 if in every epoch.
    """

    def of(epoch: Epoch) -> int:
        if not epoch.whole:
            return (epoch.images + watched) * macs
        again = 0 if kept else (epoch.images + watched) * frozen
        return again + (3 * epoch.images + watched) * (macs - frozen)

    rates = [epoch.images / epoch.seconds for epoch in history]
    return {
        "images": sum(epoch.images for epoch in history),
        "train_seconds": sum(epoch.seconds + epoch.val_seconds for epoch in history),
        "train_images_per_second": statistics.median(rates),
        "train_macs": kept * frozen + sum(map(of, history)),
    }
