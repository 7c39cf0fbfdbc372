"""What the search for settings leaves in `data/results/tune.json`."""

from pydantic import Field

from src.core.records import Environment, Record


class SearchSummary(Record):
    """One backbone's search: the best of its trials, and what all of them took.

    `configurations` trials ended `complete`, `pruned` or `diverged`. `lr` and `weight_decay` are those of the best
    trial, where they were searched; `val_accuracy` is its accuracy on `val_images` validation images, and
    `first_val_accuracy` that of the first trial, which has the settings of `finetune`.
    """

    configurations: int
    complete: int
    pruned: int
    diverged: int
    best_trial: int
    lr: float | None = None
    weight_decay: float | None = None
    val_accuracy: float
    first_val_accuracy: float | None = None
    val_images: int
    images: int
    images_cap: int
    train_macs: int
    train_seconds: float


class SearchSummaries(Record):
    """Every search by the role of its backbone."""

    backbones: dict[str, SearchSummary] = Field({})
    environment: Environment = Field({})
