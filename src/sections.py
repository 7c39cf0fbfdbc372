"""The settings by sections, each with its type and bounds. For src.params, which has them all and reads them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from src import architectures
from src.arms import FINETUNED, READOUTS
from src.errors import did_you_mean


def _known(allowed: tuple[str, ...]) -> Any:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{did_you_mean(str(value), allowed)}allowed: {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def _once(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each may be named once")
    return values


def _names(value: Any) -> Any:
    """Class names that YAML reads as numbers (the digits 3 and 8) are names all the same."""
    if not isinstance(value, list):
        return value
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]


def _built(arch: str) -> str:
    if fault := architectures.fault(arch):
        raise ValueError(fault)
    return arch


Arch = Annotated[str, AfterValidator(_built)]
Method = Annotated[str, _known(FINETUNED)]
Readout = Annotated[str, _known(READOUTS)]
ClassNames = Annotated[list[str], BeforeValidator(_names), Field(min_length=1)]


class Section(BaseModel):
    """Settings are closed (a misspelt key is an error), immutable, and never coerced from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Download(Section):
    """`max_side`: folder images that are not squares of one size are cut to squares of at most so many pixels."""

    max_side: int = Field(256, ge=8, le=4096)


class Prepare(Section):
    """`val_fraction` of train is held out for every choice; `per_class` caps the training images of each class.

    `imbalance` thins out the training images alone; of the smallest class there is one to `imbalance_ratio` of the
    largest.
    """

    val_fraction: float = Field(0.1, gt=0, le=0.5)
    per_class: int | None = Field(None, ge=2)
    imbalance: Literal["none", "long_tailed", "step"] = "none"
    imbalance_ratio: float = Field(10.0, ge=1, le=100_000)


class Backbone(Section):
    """An architecture and the weights that it starts from."""

    arch: Arch
    weights: str = Field("imagenet", min_length=1)


class Legacy(Backbone):
    """The legacy backbone, which stages, files and metrics call `resnet`."""

    arch: Arch = "resnet18"


class Modern(Backbone):
    """The modern backbone, which stages, files and metrics call `convnext`."""

    arch: Arch = "convnext_tiny"


class Finetune(Section):
    """How a backbone is trained; both are trained alike. The first method stands for fine-tuning in the 2 x 2 table.

    `warmup`: the share of steps in which the rate rises; null is 0.3 of `one_cycle` and none of the others. `ema`: what
    the average of the weights keeps of itself at every step. `patience`: so many epochs without a better one end it.
    `extendable`: its end is kept, for more epochs to begin there. `balance`: what answers to classes of different size,
    see `losses.of` and `batches.balanced`. `policy`, `erasing` (its probability), `mix` and `mix_alpha` (both of the
    parameters of its beta distribution) are augmentations, see `src.augmentation`.
    """

    methods: Annotated[list[Method], AfterValidator(_once)] = Field(["full"], min_length=1)
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


class Tune(Section):
    """How `finetune`'s lr and weight_decay are searched, by its first method and epochs; what is found serves them all.

    `images`: a trial after which more might have been trained on is not begun; null for all that the trials need.
    """

    enabled: bool = False
    trials: int = Field(20, ge=2, le=10_000)
    images: int | None = Field(None, ge=1)
    factor: float = Field(30.0, gt=1, le=10_000)


class Frozen(Section):
    """What reads classes off a backbone that is never trained. The first stands for freezing in the 2 x 2 table.

    `shots`: so many training images of each class, and at most as many validation images; null for all.
    """

    readouts: Annotated[list[Readout], AfterValidator(_once)] = Field(list(READOUTS), min_length=1)
    shots: int | None = Field(None, ge=1)


class Compare(Section):
    """`base_classes`: the report's bar chart tests every arm on the first so many classes only."""

    base_classes: int = Field(2, ge=2)
    resamples: int = Field(10_000, ge=100, le=1_000_000)
    confidence: float = Field(0.95, gt=0.5, lt=1)


Attack = Literal["fgsm", "pgd", "apgd_ce", "square", "autoattack"]
Severity = Annotated[int, Field(ge=1, le=5)]
Epsilon = Annotated[float, Field(gt=0, le=255)]


class Robustness(Section):
    """What every arm is measured on besides: corruptions, attacks and unknown images; off unless `enabled`.

    `images`: so many test images at most, drawn at random; null for all. `epsilons` are in 255ths, and the first is the
    one that metrics name alone. `steps` are those of PGD and APGD-CE; Square asks the network 25 times as often, and
    autoattack has a budget of its own. `corrupted`: a folder with the official files of CIFAR-10-C; null corrupts here.
    """

    enabled: bool = False
    images: int | None = Field(1000, ge=2)
    severities: Annotated[list[Severity], AfterValidator(_once)] = Field([1, 2, 3, 4, 5], min_length=1)
    attacks: Annotated[list[Attack], AfterValidator(_once)] = ["fgsm", "pgd", "apgd_ce", "square"]
    epsilons: Annotated[list[Epsilon], AfterValidator(_once)] = Field([0.25, 0.5, 1, 2, 4, 8], min_length=1)
    steps: int = Field(20, ge=1, le=10_000)
    corrupted: str | None = Field(None, min_length=1)
