"""The state of a training: its epochs, the best weights, and all that an interrupted run needs to go on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from src.storage.resume import StateFile


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images gave: means over images, never over batches."""

    number: int  # from 1
    train_loss: float  # what is minimised, see `losses.of`, in nats, of the augmented images, while training
    train_accuracy: float  # of mixed images, against the class that has the largest part
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


def last_phase(history: Sequence[Epoch]) -> list[Epoch]:
    """The epochs that trained what the last one did: all of them, or those that followed a probe."""
    return [epoch for epoch in history if epoch.whole == history[-1].whole]


def best_of(epochs: Iterable[Epoch]) -> Epoch:
    """The best of some epochs, the first of those that are equal."""
    return reduce(lambda best, epoch: epoch if epoch.beats(best) else best, epochs)


@dataclass(frozen=True)
class Point:
    """Where in a training: so many batches and images into an epoch, with sums over them and the seconds they took."""

    epoch: int = 1
    batches: int = 0
    images: int = 0
    sums: tuple[float, ...] = (0.0, 0.0, 0.0)  # of losses over images, of right answers, of steps with a finite loss
    seconds: float = 0.0

    def means(self) -> tuple[float, float]:
        """Loss and accuracy of an image."""
        return self.sums[0] / self.images, self.sums[1] / self.images


@dataclass
class Progress:
    """The epochs so far, the weights that the best of them had, and from which point to go on.

    With a place to save them, they are saved every so often, with all that the next step depends on.
    """

    place: StateFile = field(default_factory=StateFile)
    history: list[Epoch] = field(default_factory=list)
    kept: dict[str, Tensor] = field(default_factory=dict)
    point: Point = Point()
    rest: dict[str, Tensor] = field(default_factory=dict)  # of the network, its average, optimizer and generators
    average: AveragedModel | None = None  # of the weights of the present phase
    end: StateFile = field(default_factory=StateFile)  # where what the last epoch ends with is kept

    @classmethod
    def taken_up(cls, place: StateFile, end: StateFile | None = None, epochs: int = 0) -> "Progress":
        """What was saved at a place; or the end of a training of so many epochs at the most; or a beginning."""
        end = end or StateFile()
        tensors, about = place.load()
        if not tensors:
            tensors, about = end.load()
        if not tensors or len(about["history"]) > epochs > 0:
            return cls(place, end=end)
        kept = {name.removeprefix("kept."): tensor for name, tensor in tensors.items() if name.startswith("kept.")}
        point = Point(**about["point"] | {"sums": tuple(about["point"]["sums"])})
        print(f"{place.name}: going on in epoch {point.epoch}, after {point.batches} of its batches", flush=True)
        return cls(place, [Epoch(**epoch) for epoch in about["history"]], kept, point, tensors, end=end)

    @property
    def best(self) -> Epoch:
        """One of the last phase: what `lp_ft` keeps has been fine-tuned, however good the probe was."""
        return best_of(last_phase(self.history))

    def add(self, epoch: Epoch, model: nn.Module) -> None:
        """One more epoch, after which the network holds its weights."""
        self.history.append(epoch)
        if self.best is epoch:
            self.kept = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    def since(self, first: int) -> list[Epoch]:
        """The epochs from number `first` on."""
        return [epoch for epoch in self.history if epoch.number >= first]

    def enter(self, first: int, steps: int, model: nn.Module, opt: torch.optim.Optimizer, plan: LambdaLR) -> Point:
        """Where a phase that begins with epoch `first`, of so many steps each, goes on: all of it set to that point."""
        if not self.rest or self.point.epoch < first:
            return Point(first)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(self.rest[f"model.{name}"])
        done = (self.point.epoch - first) * steps + self.point.batches
        if done:  # else what was saved is the optimizer of the phase before
            self._restore(opt, plan, done)
            if self.average is not None:
                self.average.load_state_dict(_under("average.", self.rest))
        return self.point

    def _restore(self, opt: torch.optim.Optimizer, plan: LambdaLR, steps: int) -> None:
        for number, parameter in enumerate(opt.param_groups[0]["params"]):
            opt.state[parameter] = {
                # In the layout of the weight: fused optimizers walk through both as they lie in memory.
                name: torch.empty_like(parameter).copy_(tensor) if tensor.ndim else tensor.clone()
                for name, tensor in _under(f"opt.{number}.", self.rest).items()
            }
        plan.last_epoch = steps
        for group, base in zip(opt.param_groups, plan.base_lrs, strict=True):
            group["lr"] = base * plan.lr_lambdas[0](steps)

    def seed_generators(self, seed: int, device: torch.device) -> None:
        """Dropout and the like begin an epoch anew, or go on in the middle of the one that was interrupted."""
        torch.manual_seed(seed)
        if self.rest and self.point.batches:
            _generators(device, self.rest)
        self.rest = {}

    def pause(self, model: nn.Module, opt: torch.optim.Optimizer, point: Point, device: torch.device) -> None:
        """A moment at which everything is settled: saved if it is time to, and left if someone asked for it.

        Raises:
            UserError: someone asked to stop.
        """
        if self.place.due():
            self._save(self.place, model, opt, point, device)
        self.place.leave_if_asked(f"in epoch {point.epoch}, after {point.batches} of its batches")

    def finish(self, model: nn.Module, opt: torch.optim.Optimizer, point: Point, device: torch.device) -> None:
        """The end of the last epoch: kept where that was asked for, unless a longer training's is."""
        if self.end.folder is not None and len(self.end.load()[1].get("history", ())) < len(self.history):
            self._save(self.end, model, opt, point, device)

    def _save(
        self, place: StateFile, model: nn.Module, opt: torch.optim.Optimizer, point: Point, device: torch.device
    ) -> None:
        learning = opt.param_groups[0]["params"]
        tensors = _prefixed("model.", model.state_dict()) | _prefixed("kept.", self.kept)
        if self.average is not None:
            tensors |= _prefixed("average.", self.average.state_dict())
        for number, parameter in enumerate(learning):
            tensors |= _prefixed(f"opt.{number}.", opt.state[parameter])
        place.save(
            tensors | _generators(device),
            {"history": [asdict(epoch) for epoch in self.history], "point": asdict(point)},
        )


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _generators(device: torch.device, states: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The states of PyTorch's own generators, after setting them to those given."""
    modules = {"cpu": torch} | ({} if device.type == "cpu" else {device.type: getattr(torch, device.type)})
    if states is not None:
        for name, module in modules.items():
            module.set_rng_state(states[f"generator.{name}"])
    return {f"generator.{name}": module.get_rng_state() for name, module in modules.items()}


LAST = 2  # epochs by which a curve is judged


def should_stop(phase: Sequence[Epoch], patience: int | None) -> bool:
    """Whether the last `patience` epochs of a phase were all worse on validation images than one before them."""
    return patience is not None and bool(phase) and phase[-1].number - best_of(phase).number >= patience


def curve_verdict(history: Sequence[Epoch], images: int) -> str:
    """What a curve says, such as `still improving: +0.4 points over the last 2 epochs`.

    It is that of validation accuracies in the last phase, and the gain is that of the best of the last two epochs over
    the best before them. It is called noise where it is less than the standard error of one accuracy on so many
    images, sqrt(p (1 - p) / n).
    """
    phase = last_phase(history)
    if len(phase) <= LAST:
        return f"too short to tell: {len(phase)} epoch{'s' if len(phase) > 1 else ''}"
    before, after = (max(epoch.val_accuracy for epoch in part) for part in (phase[:-LAST], phase[-LAST:]))
    points, noise = 100 * (after - before), 100 * math.sqrt(after * (1 - after) / images)
    if points <= 0:
        return f"settled: {points:+.1f} points over the last {LAST} epochs"
    if points < noise:
        return f"settled within the noise of {images:,} images: {points:+.1f} points over the last {LAST} epochs"
    return f"still improving: {points:+.1f} points over the last {LAST} epochs"
