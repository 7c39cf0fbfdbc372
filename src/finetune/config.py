"""How a network is trained: the section `finetune` of the settings, as the loop takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from src.core.design import FINETUNED
from src.core.section import Section, known, once


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
    def augmentation(self) -> Any:
        from src.finetune.augment import Augmentation

        return Augmentation(self.augment, self.policy, self.erasing, self.mix, self.mix_alpha)


Method = Annotated[str, known(FINETUNED)]


class Finetune(Section):
    """How a backbone is trained; both are trained alike. The first method stands for fine-tuning in the 2 x 2 table.

    `warmup`: the share of steps in which the rate rises; null is 0.3 of `one_cycle` and none of the others. `ema`: what
    the average of the weights keeps of itself at every step. `patience`: so many epochs without a better one end it.
    `extendable`: its end is kept, for more epochs to begin there. `balance`: what answers to classes of different size,
    see `losses.of` and `batches.balanced`. `policy`, `erasing` (its probability), `mix` and `mix_alpha` (both of the
    parameters of its beta distribution) are augmentations, see `src.augmentation`.
    """

    methods: Annotated[list[Method], AfterValidator(once)] = Field(["full"], min_length=1)
    epochs: int = Field(5, ge=1, le=10_000)
    batch_size: int = Field(64, ge=2, le=65_536)
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(1e-3, gt=0, le=100)
    weight_decay: float = Field(1e-4, ge=0, le=10)
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup: float | None = Field(None, ge=0, lt=1)
    ema: float | None = Field(None, gt=0, lt=1)
    patience: int | None = Field(None, ge=1)
    extendable: bool = False
    augment: bool = True
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    erasing: float = Field(0.0, ge=0, le=1)
    mix: Literal["none", "mixup", "cutmix"] = "none"
    mix_alpha: float = Field(1.0, gt=0, le=100)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: Literal["none", "weights", "sampling", "logit_adjustment"] = "none"

    def recipe(self) -> dict[str, Any]:
        """The keyword arguments of `training.finetune`."""
        rise = self.warmup if self.warmup is not None else 0.3 if self.schedule == "one_cycle" else 0.0
        return self.model_dump(exclude={"methods", "extendable"}) | {"warmup": rise}
