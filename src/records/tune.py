"""What the search for learning rates leaves in `data/results/tune.json`."""

import math

from pydantic import Field

from src.core.records import Environment, Record


class Trial(Record):
    """One learning rate: its results on validation images, and what its training and validation took.

    `accuracies` are those of every epoch that ended. `val_accuracy` and `val_loss` (nats) are those of the epoch that
    was kept. A trial that `diverged` (its loss was no number) kept none.
    """

    lr: float
    diverged: bool
    accuracies: list[float]
    val_accuracy: float | None
    val_loss: float | None
    images: int
    train_macs: int
    train_seconds: float

    def beats(self, other: "Trial") -> bool:
        """By validation accuracy, ties by the lower loss; a trial does not beat its equal."""
        ours, theirs = ((trial.val_accuracy or 0.0, -(trial.val_loss or math.inf)) for trial in (self, other))
        return ours > theirs

    def __str__(self) -> str:
        reached = "the loss was no number" if self.diverged else f"val accuracy {self.val_accuracy:.4f}"
        return f"learning rate {self.lr:.3g}: {reached}"


class SearchSummary(Record):
    """One backbone's search: the best of its trials, and what all of them took.

    The first of the `configurations` trials has the published rate, or that of `finetune.lr`, and reached
    `first_val_accuracy`; the best has `lr` and reached `val_accuracy` on `val_images` images. `at_edge`: that rate is
    the smallest or the largest, so that a better one may lie beyond.
    """

    configurations: int
    diverged: int
    best_trial: int
    lr: float
    at_edge: bool
    val_accuracy: float
    first_val_accuracy: float | None
    val_images: int
    images: int
    train_macs: int
    train_seconds: float
    trials: list[Trial]


class SearchSummaries(Record):
    """Every search by the role of its backbone; none where no setting was searched."""

    backbones: dict[str, SearchSummary] = Field({})
    environment: Environment = Field({})

    def numbers(self) -> dict[str, dict[str, float]]:
        """The best learning rate of each backbone."""
        return {role: {"lr": found.lr} for role, found in self.backbones.items()}
