"""What is kept of each trial of a search for settings. For the stage `tune`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from src.errors import UserError

SEARCHED = ("lr", "weight_decay")  # of `finetune`
STATES = ("complete", "pruned", "diverged")


@dataclass(frozen=True)
class Trial:
    """One trial: what was tried, what it reached on validation images, and what it took."""

    number: int  # from 1
    state: str  # complete, pruned (given up by the median rule) or diverged (its loss was no number)
    params: dict[str, float]
    accuracies: list[float]  # of each epoch
    val_accuracy: float | None  # of the best epoch, and its cross-entropy in nats; none where no epoch ended
    val_loss: float | None
    images: int
    train_macs: int
    train_seconds: float

    def beats(self, other: "Trial") -> bool:
        """As epochs do: by accuracy, ties by the lower loss; the earlier trial stays where both are equal."""
        ours, theirs = ((trial.val_accuracy or 0.0, -(trial.val_loss or math.inf)) for trial in (self, other))
        return ours > theirs

    def __str__(self) -> str:
        tried = ", ".join(f"{name} {value:.3g}" for name, value in self.params.items())
        reached = "no epoch" if self.val_accuracy is None else f"val accuracy {self.val_accuracy:.4f}"
        return f"{tried}: {self.state}, {reached}"


@dataclass(frozen=True)
class Search:
    """All trials of one backbone."""

    name: str  # of the backbone, for people
    recipe: Mapping[str, Any]  # finetune's own, which the first trial had
    trials: list[Trial]
    val_images: int  # on which every trial was judged
    images_cap: int  # so many all trials together were allowed to train on

    @property
    def best(self) -> Trial:
        """The best of those that came to their end.

        Raises:
            UserError: none did.
        """
        complete = [trial for trial in self.trials if trial.state == "complete"]
        if not complete:
            raise UserError(
                f"finetune.lr = {self.recipe['lr']}: none of {len(self.trials)} trials of {self.name} around it came "
                "to its end; try a smaller rate"
            )
        return reduce(lambda found, trial: trial if trial.beats(found) else found, complete)


def spent(trials: Sequence[Trial]) -> int:
    """Images trained on so far."""
    return sum(trial.images for trial in trials)
