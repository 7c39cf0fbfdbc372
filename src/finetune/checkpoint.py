"""The state of a training: its epochs, the best weights, and all that an interrupted run needs to go on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from src.finetune.config import Finetune
from src.finetune.optim import dominant
from src.storage.resume import StateFile

LAST = 2  # epochs by which a curve is judged, against as many before them
SETTLED = 1.0  # points: a curve whose last epochs gained less is settled
CHECK_EVERY = 32  # steps after which a device is asked whether the loss is finite, since it waits for the answer


@dataclass(frozen=True)
class Epoch:
    """The results of one pass over the training images: means over images, never over batches."""

    number: int  # from 1
    train_loss: float  # the training loss in nats, see `optim.make_loss`, on augmented images while training
    train_accuracy: float  # of mixed images, against the class that has the largest share
    val_loss: float
    val_accuracy: float
    whole: bool  # whether the whole network was trained, or its head alone
    images: int  # trained on in this epoch
    seconds: float  # of training, without validation
    val_seconds: float = 0.0

    def beats(self, other: "Epoch") -> bool:
        """By validation accuracy, ties by the lower validation loss."""
        return (self.val_accuracy, -self.val_loss) > (other.val_accuracy, -other.val_loss)

    def results(self) -> dict[str, float]:
        """Without the cost: the same at every run with the same seed."""
        costs = ("whole", "images", "seconds", "val_seconds")
        return {name: value for name, value in asdict(self).items() if name not in costs}

    def __str__(self) -> str:
        train = f"train loss {self.train_loss:.4f}, accuracy {self.train_accuracy:.4f}"
        val = f"val loss {self.val_loss:.4f}, accuracy {self.val_accuracy:.4f}"
        return f"epoch {self.number}: {train}; {val}; {self.images / self.seconds:,.0f} images/s"


def last_phase(history: Sequence[Epoch]) -> list[Epoch]:
    """The epochs that trained the same part of the network as the last one: all, or those that followed a probe."""
    return [epoch for epoch in history if epoch.whole == history[-1].whole]


def best_of(epochs: Iterable[Epoch]) -> Epoch:
    """The best epoch; the first of those that are equal."""
    return reduce(lambda best, epoch: epoch if epoch.beats(best) else best, epochs)


def curve_verdict(history: Sequence[Epoch], images: int, schedule: str = "constant") -> str:
    """One phrase on the validation curve, such as `cannot tell: +0.4 +- 4.3 points over the last 2 epochs`.

    The gain is the best accuracy of the last two epochs less the best of the two before them, within the last phase;
    the best of more epochs would be higher by chance. What follows +- is 1.96 standard errors of the difference on the
    same n images, at most sqrt((p (1 - p) + q (1 - q)) / n), as if two epochs agreed on an image by chance alone; with
    one right and one wrong image added to each, so that it is never 0 (Agresti and Caffo 2000). A curve is still
    improving if the gain is larger, and settled only if a gain of one point is excluded.

    Args:
        images: the number n of images that are watched.
        schedule: see `Finetune.schedule`; one that falls makes the last epochs gain, and leaves nothing to go on with.
    """
    phase = last_phase(history)
    if len(phase) < 2 * LAST:
        return f"too short to tell: {len(phase)} epoch{'s' if len(phase) > 1 else ''}"
    p, q = (max(epoch.val_accuracy for epoch in part) for part in (phase[-2 * LAST : -LAST], phase[-LAST:]))
    points, added = 100 * (q - p), [(share * images + 1) / (images + 2) for share in (p, q)]
    noise = 196 * math.sqrt(sum(share * (1 - share) for share in added) / (images + 2))
    word = "still improving" if points > noise else "settled" if points + noise < SETTLED else "cannot tell"
    end = (
        ""
        if schedule == "constant"
        else f"; the {schedule} schedule ends there, and more epochs would be another curve"
    )
    return f"{word}: {points:+.1f} +- {noise:.1f} points over the last {LAST} epochs{end}"


@dataclass
class Trained:
    """What a training changes at every step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LambdaLR
    ema: AveragedModel | None
    accelerator: Accelerator


@dataclass
class TrainState:
    """All that a run needs to go on; the training loop alone changes it.

    Args:
        file: where the state is saved from time to time.
        end: where the state after the last epoch is kept for a longer training.
        epoch, batch, images, seconds: the position: the present epoch, and what of it is done.
        sums: over the present epoch: of losses over images, of right predictions, of steps with a finite loss.
        history: the epochs that are done.
        best_weights: those of the best epoch of the last phase, on the CPU.
        saved: tensors of an interrupted run that are not restored yet.
        keep: which epoch's weights are kept, see `Finetune.keep`.
    """

    file: StateFile = field(default_factory=StateFile)
    end: StateFile = field(default_factory=StateFile)
    epoch: int = 1
    batch: int = 0
    images: int = 0
    seconds: float = 0.0
    sums: Tensor = field(default_factory=lambda: torch.zeros(3))
    history: list[Epoch] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    saved: dict[str, Tensor] = field(default_factory=dict)
    keep: str = "best"

    @classmethod
    def load(cls, file: StateFile, config: Finetune, end: StateFile | None = None) -> "TrainState":
        """The saved state; or the kept end of a training of at most as many epochs; or a fresh one."""
        end = end or StateFile()
        tensors, about = file.load()
        if not tensors:
            tensors, about = end.load()
        if not tensors or len(about["history"]) > config.epochs:
            return cls(file, end, keep=config.keep)
        position = about["position"] | {"sums": torch.tensor(about["position"]["sums"])}
        history = [Epoch(**epoch) for epoch in about["history"]]
        best = _under("best.", tensors)
        state = cls(file, end, **position, history=history, best_weights=best, saved=tensors, keep=config.keep)
        where = f"resumed in epoch {state.epoch}, after {state.batch} of its batches"
        print(f"{file.name}: {where if state.epoch <= config.epochs else 'trained already'}", flush=True)
        return state

    @property
    def best(self) -> Epoch:
        """The epoch that is kept: the last one, or the best of the last phase.

        So `lp_ft` keeps a fine-tuned network, however good the probe was.
        """
        return self.history[-1] if self.keep == "last" else best_of(last_phase(self.history))

    def should_stop(self, first: int, patience: int | None) -> bool:
        """Whether the last `patience` epochs since epoch `first` were all worse than one before them."""
        phase = [epoch for epoch in self.history if epoch.number >= first]
        return patience is not None and bool(phase) and phase[-1].number - best_of(phase).number >= patience

    def restore(self, trained: Trained, first: int, steps: int, seconds: float = 0.0) -> None:
        """Set a training whose phase begins with epoch `first`, of so many steps an epoch, to the saved state.

        Args:
            seconds: that were spent on the present epoch before its first step.
        """
        self.seconds += seconds
        self.sums = self.sums.to(trained.accelerator.device)
        if not self.saved or self.epoch < first:
            self.epoch = max(self.epoch, first)
            return
        trained.model.load_state_dict(_under("model.", self.saved))
        done = (self.epoch - first) * steps + self.batch
        if done:  # otherwise the saved optimizer is that of the phase before
            _restore_optimizer(trained, self.saved, done)
            if trained.ema is not None:
                trained.ema.load_state_dict(_under("ema.", self.saved))

    def seed_generators(self, seed: int, device: torch.device) -> None:
        """Seed dropout and the like for an epoch, or restore their generators in the middle of an interrupted one."""
        torch.manual_seed(seed)
        if self.saved and self.batch:
            for name, module in _generators(device).items():
                module.set_rng_state(self.saved[f"generator.{name}"])
        self.saved = {}

    def count(self, loss: Tensor, logits: Tensor, labels: Tensor, processes: int) -> None:
        """Add one step. A device is asked only from time to time whether the loss is finite.

        Raises:
            FloatingPointError: a loss is not a number; the message names the step, from 1.
        """
        right = (logits.argmax(1) == dominant(labels)).sum()
        self.sums += torch.stack((loss * len(labels), right, loss.isfinite()))
        self.batch, self.images = self.batch + 1, self.images + len(labels) * processes
        if self.sums.device.type == "cpu" or self.batch % CHECK_EVERY == 0:
            self.require_finite()

    def require_finite(self) -> None:
        """Raise if the sum of the losses is not a number, with the first step whose loss was none."""
        if not math.isfinite(self.sums[0].item()):
            raise FloatingPointError(f"at step {int(self.sums[2].item()) + 1}")

    def end_epoch(
        self, trained: Trained, val_loss: float, val_accuracy: float, val_seconds: float = 0.0, *, whole: bool
    ) -> Epoch:
        """Add the present epoch to the history; the network holds the weights that were validated."""
        loss, right, _ = trained.accelerator.reduce(self.sums, "sum").tolist()
        means = loss / self.images, right / self.images
        epoch = Epoch(self.epoch, *means, val_loss, val_accuracy, whole, self.images, self.seconds, val_seconds)
        self.history.append(epoch)
        if self.best is epoch:
            self.best_weights = {
                name: value.detach().cpu().clone() for name, value in trained.model.state_dict().items()
            }
        return epoch

    def next_epoch(self) -> None:
        """Move to the beginning of the next epoch."""
        self.epoch, self.batch, self.images, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.sums = torch.zeros_like(self.sums)

    def save_if_due(self, trained: Trained) -> None:
        """Save if it is time to, and stop if someone asked for it.

        Raises:
            UserError: someone asked to stop.
        """
        if self.file.due():
            self._save(self.file, trained)
        self.file.leave_if_asked(f"in epoch {self.epoch}, after {self.batch} of its batches")

    def finish(self, epochs: int) -> None:
        """Save what is left to know of a training that ended, so that a stage of several goes on after it.

        Args:
            epochs: that it might have had; with patience it may have ended before.
        """
        if self.file.folder is not None:
            position = {"epoch": epochs + 1, "batch": 0, "images": 0, "seconds": 0.0, "sums": [0.0, 0.0, 0.0]}
            about = {"history": [asdict(epoch) for epoch in self.history], "position": position}
            self.file.save(_prefixed("best.", self.best_weights), about)

    def keep_end(self, trained: Trained) -> None:
        """Keep the state after the last epoch if that was asked for, unless that of a longer training is kept."""
        if self.end.folder is not None and len(self.end.load()[1].get("history", ())) < len(self.history):
            self._save(self.end, trained)

    def _save(self, file: StateFile, trained: Trained) -> None:
        tensors = _prefixed("model.", trained.model.state_dict()) | _prefixed("best.", self.best_weights)
        if trained.ema is not None:
            tensors |= _prefixed("ema.", trained.ema.state_dict())
        for number, parameter in enumerate(trained.optimizer.param_groups[0]["params"]):
            tensors |= _prefixed(f"optimizer.{number}.", trained.optimizer.state[parameter])
        for name, module in _generators(trained.accelerator.device).items():
            tensors[f"generator.{name}"] = module.get_rng_state()
        position = {name: getattr(self, name) for name in ("epoch", "batch", "images", "seconds")}
        position["sums"] = self.sums.tolist()
        file.save(tensors, {"history": [asdict(epoch) for epoch in self.history], "position": position})


def _restore_optimizer(trained: Trained, saved: Mapping[str, Tensor], steps: int) -> None:
    optimizer, scheduler = trained.optimizer, trained.scheduler
    for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
        optimizer.state[parameter] = {
            # In the layout of the weight: fused optimizers walk through both as they lie in memory.
            name: torch.empty_like(parameter).copy_(tensor) if tensor.ndim else tensor.clone()
            for name, tensor in _under(f"optimizer.{number}.", saved).items()
        }
    scheduler.last_epoch = steps
    for group, base in zip(optimizer.param_groups, scheduler.base_lrs, strict=True):
        group["lr"] = base * scheduler.lr_lambdas[0](steps)


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _generators(device: torch.device) -> dict[str, Any]:
    """The modules that hold PyTorch's own generators, by name."""
    return {"cpu": torch} | ({} if device.type == "cpu" else {device.type: getattr(torch, device.type)})
