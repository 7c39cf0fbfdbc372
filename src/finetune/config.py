"""The section `finetune` of the settings, which is what the training loop takes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from src.core.design import FINETUNED
from src.core.section import Section, once, one_of

Method = Annotated[str, one_of(FINETUNED)]


class Finetune(Section):
    """How a backbone is trained; both backbones alike. The first method stands for fine-tuning in the 2 x 2 table."""

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

    @property
    def warmup_share(self) -> float:
        """The share of the steps in which the learning rate rises."""
        return self.warmup if self.warmup is not None else 0.3 if self.schedule == "one_cycle" else 0.0

    @property
    def augments_batches(self) -> bool:
        """Whether an augmentation looks at the whole of a batch, as groups and pairs reach over it."""
        return self.policy != "none" or self.erasing > 0 or self.mix != "none"

    def batches(self, images: int) -> tuple[int, int]:
        """The batch size for so many images, and the number of full batches in an epoch; the rest is left out."""
        size = min(self.batch_size, images)
        return size, images // size

    def recipe(self) -> dict[str, Any]:
        """What made a network, for the header of its checkpoint."""
        return self.model_dump(exclude={"methods", "extendable"}) | {"warmup": self.warmup_share}
