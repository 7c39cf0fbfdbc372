"""The section `finetune` of the settings, which is what the training loop takes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from src.core.design import FINETUNED
from src.core.section import Section, once, one_of

Method = Annotated[str, one_of(FINETUNED)]


# The learning rate of Adam at which the authors of some kinds of networks fine-tune, by the beginnings of their names:
# ConvNeXt's TRAINING.md has 5e-5. Of older ones none is published; for them stands the optimizer's own default.
PUBLISHED_LR = {("convnext", "swin", "vit", "maxvit", "deit", "beit"): 5e-5}
DEFAULT_LR = 1e-3  # Kingma and Ba 2015


def published_lr(arch: str) -> float:
    """The learning rate around which an architecture is fine-tuned with Adam."""
    name = arch.removeprefix("timm/")
    return next((lr for kinds, lr in PUBLISHED_LR.items() if name.startswith(kinds)), DEFAULT_LR)


class Finetune(Section):
    """How both backbones are fine-tuned."""

    methods: Annotated[list[Method], AfterValidator(once)] = Field(
        ["full"],
        min_length=1,
        description="full, head (alone), lp_ft (head first, then everything); the first is in the 2 x 2 table",
    )
    freeze: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a network's blocks, from the first, that full and lp_ft leave as they are",
    )
    epochs: int = Field(5, ge=1, le=10_000, description="passes over the training images")
    batch_size: int = Field(64, ge=2, le=65_536, description="images in a step")
    drop_last: bool = Field(True, description="leave out the last batch of an epoch if it is not full")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="adam or sgd")
    lr: float | None = Field(
        None, gt=0, le=100, description="learning rate; of fair: the one at which the backbone's kind is fine-tuned"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(True, description="of sgd: Nesterov's momentum instead of the plain one")
    weight_decay: float = Field(
        1e-4, ge=0, le=10, description="L2 penalty: weight_decay x weight is added to the gradient"
    )
    schedule: Literal["constant", "cosine", "one_cycle"] = Field(
        "constant", description="learning rate scheduler: constant, cosine or one_cycle"
    )
    warmup: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of the steps in which the learning rate rises; null: 0.3 of one_cycle, else 0",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of a moving average of the weights, which is then validated and kept; null: none",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="stop after this many epochs without a better validation accuracy (ties: loss); null: never",
    )
    watch: Literal["validation", "test", "augmented_test"] = Field(
        "validation", description="the images on which every epoch is measured: validation, test or augmented_test"
    )
    keep: Literal["best", "last"] = Field("best", description="the epoch whose weights are kept: best or last")
    extendable: bool = Field(
        False, description="keep the end in data/resume: a run with more epochs then computes only the additional ones"
    )
    augment: bool = Field(True, description="random crops and mirror images")
    policy: Literal["none", "randaugment", "trivialaugment"] = Field(
        "none", description="none, randaugment or trivialaugment: random changes of colour and geometry"
    )
    erasing: float = Field(0.0, ge=0, le=1, description="probability that a random rectangle of an image is erased")
    mix: Literal["none", "mixup", "cutmix"] = Field(
        "none", description="none, mixup or cutmix: pairs of images are mixed, and their labels in the same proportion"
    )
    mix_alpha: float = Field(
        1.0,
        ge=0.001,  # below it float32 has no such distribution
        le=100,
        description="parameter of the beta distribution of that proportion; usual is 0.2 for mixup, 1 for cutmix",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a label that is spread evenly over all classes"
    )
    balance: Literal["none", "weights", "sampling", "logit_adjustment"] = Field(
        "none", description="for classes of different size: none, weights (in the loss), sampling or logit_adjustment"
    )

    @property
    def warmup_share(self) -> float:
        """The share of the steps in which the learning rate rises."""
        return self.warmup if self.warmup is not None else 0.3 if self.schedule == "one_cycle" else 0.0

    @property
    def augments_batches(self) -> bool:
        """Whether an augmentation looks at the whole of a batch, as groups and pairs reach over it."""
        return self.policy != "none" or self.erasing > 0 or self.mix != "none"

    def batches(self, images: int) -> tuple[int, int]:
        """The batch size for so many images, and the number of batches in an epoch.

        With batch normalisation a batch of one image cannot be trained on, so a last one of that size is left out.
        """
        size = min(self.batch_size, images)
        whole, rest = divmod(images, size)
        return size, whole + (not self.drop_last and rest > 1)

    def at(self, arch: str) -> "Finetune":
        """The same for a backbone, with the learning rate at which its kind is fine-tuned where none is set."""
        return self if self.lr is not None else self.model_copy(update={"lr": published_lr(arch)})

    def recipe(self) -> dict[str, Any]:
        """What made a network, for the header of its checkpoint."""
        return self.model_dump(exclude={"methods", "extendable"}) | {"warmup": self.warmup_share}
