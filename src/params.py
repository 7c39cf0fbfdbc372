"""The settings of an experiment as typed, bounded, documented models; the only reader of params.yaml."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from src import architectures
from src.arms import FINETUNED, READOUTS
from src.errors import UserError

COUNT_OR_NAMES = "a whole number >= 2 (the first K classes) or a list of two or more class names"


def _known(allowed: tuple[str, ...]) -> Any:
    def check(value: Any) -> Any:
        if value not in allowed:
            near = difflib.get_close_matches(str(value), allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{hint}allowed: {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def _once(values: list[str]) -> list[str]:
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

    `imbalance` thins out the training images alone: to the smallest class's one the largest has `imbalance_ratio`.
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

    `warmup`: the share of steps in which the rate of `one_cycle` rises. `policy` to `mix_alpha`: `src.augmentation`;
    `label_smoothing` and `balance`: `losses.of` and `batches.balanced`.
    """

    methods: Annotated[list[Method], AfterValidator(_once)] = Field(["full"], min_length=1)
    epochs: int = Field(5, ge=1, le=10_000)
    batch_size: int = Field(64, ge=2, le=65_536)
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(1e-3, gt=0, le=100)
    weight_decay: float = Field(1e-4, ge=0, le=10)
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup: float = Field(0.3, gt=0, lt=1)
    augment: bool = True
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    erasing: float = Field(0.0, ge=0, le=1)
    mix: Literal["none", "mixup", "cutmix"] = "none"
    mix_alpha: float = Field(1.0, gt=0, le=100)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: Literal["none", "weights", "sampling", "logit_adjustment"] = "none"

    def recipe(self) -> dict[str, Any]:
        """The keyword arguments of `training.finetune`."""
        return self.model_dump(exclude={"methods"})


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


class Settings(Section):
    """All of params.yaml. A missing key takes the default here, which is the report's value."""

    dataset: Literal["cifar10", "cifar100", "cifar100_coarse", "digits", "folder"] = "cifar10"
    folder: str | None = None
    classes: Annotated[int, Field(ge=2)] | ClassNames = 10
    subset_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    image_size: int = Field(32, ge=32, le=2048)  # each backbone halves it five times
    seed: int = Field(0, ge=0, lt=2**31)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    deterministic: bool = False
    controls: bool = True
    resume: bool = Field(True, exclude=True)  # of no result, so of no name and no page
    download: Download = Download()
    prepare: Prepare = Prepare()
    resnet: Legacy = Legacy()
    convnext: Modern = Modern()
    finetune: Finetune = Finetune()
    frozen: Frozen = Frozen()
    compare: Compare = Compare()


class _Yaml12(yaml.SafeLoader):
    """YAML 1.2 scalars, as DVC writes them: 1e-05 is a number, and `no`, `on` or 1:30 are text."""


_Yaml12.yaml_implicit_resolvers = {}
_Yaml12.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))  # 010 is ten
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _explain(error: ValidationError) -> str:
    """The first complaint as one line: the setting, its value, what is allowed."""
    details = error.errors()
    # A union complains once for each of its types; the last one, the list of names, is the informative one.
    first = details[-1] if details[0]["loc"][0] == "classes" else details[0]
    path = [str(part) if str(part).isprintable() else repr(part) for part in first["loc"]]
    if first["loc"][0] == "classes":
        return f"classes = {_shown(first['input'])}: allowed is {COUNT_OR_NAMES}"
    if first["type"] == "extra_forbidden":
        model: Any = Settings
        for part in path[:-1]:
            model = model.model_fields[part].annotation
        near = difflib.get_close_matches(path[-1], model.model_fields, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{'.'.join(path)}: no such setting; {hint}allowed: {', '.join(model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "allowed is")
    return f"{'.'.join(path)} = {_shown(first['input'])}: {message}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, names joined by dots: `finetune.lr` and so on, as `-S` takes them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read and check the settings.

    Raises:
        UserError: one line naming the setting, its value and what is allowed.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the repository's root") from None
    except RecursionError:
        raise UserError(f"{path} is not valid: it is nested too deeply; allowed are settings and sections") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {_shown(values)}; allowed is a mapping of settings")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    if settings.dataset == "folder" and settings.folder is None:
        raise UserError(
            f"{path}: folder = null: dataset is folder, so give the root of train/<class>/* and test/<class>/*"
        )
    if settings.dataset != "cifar100" and isinstance(settings.classes, list) and len(settings.classes) < 2:
        raise UserError(f"{path}: classes = {_shown(settings.classes)}: allowed is {COUNT_OR_NAMES}")
    if "lp_ft" in settings.finetune.methods and settings.finetune.epochs < 2:
        raise UserError(
            f"{path}: finetune.epochs = 1: the method lp_ft needs 2 or more, one for the probe and one for fine-tuning"
        )
    return settings
