"""How a network is trained: the section `finetune` of the settings, as the loop takes it. For `src.training`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.augmentation import Augmentation


@dataclass(frozen=True)
class Recipe:
    """Everything but the number of epochs. What has a default is off by it.

    Args:
        schedule, warmup: see `schedules.rate_at`.
        ema: the share of itself that the average of the weights keeps at every step, see `averaging.start`.
        patience: after so many epochs without a better one no more follow.
        augment: random crops and mirror images; `policy` to `mix_alpha` are those of `Augmentation`.
        label_smoothing, balance: see `losses.of`; by `sampling`, `batches.balanced`.
    """

    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    schedule: str
    warmup: float
    augment: bool
    ema: float | None = None
    patience: int | None = None
    policy: str = "none"
    erasing: float = 0.0
    mix: str = "none"
    mix_alpha: float = 1.0
    label_smoothing: float = 0.0
    balance: str = "none"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Recipe":
        """From `Finetune.recipe()`, which has the number of epochs too."""
        return cls(**{name: value for name, value in settings.items() if name != "epochs"})

    def batches(self, images: int) -> tuple[int, int]:
        """The size of a batch of so many images, and how many full ones an epoch has; the rest of them is left out."""
        size = min(self.batch_size, images)
        return size, images // size

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.augment, self.policy, self.erasing, self.mix, self.mix_alpha)
