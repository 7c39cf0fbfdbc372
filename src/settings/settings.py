"""The settings of an experiment as one typed, bounded, documented model; the only reader of params.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from src.compare.config import Compare
from src.core.errors import UserError, did_you_mean
from src.core.section import Section
from src.data.config import ClassNames, Download
from src.finetune.config import Finetune
from src.nets import architectures
from src.prepare.config import Prepare
from src.readouts.config import Frozen
from src.robustness.config import Robustness
from src.tune.config import Tune

OFFICIAL = ("cifar10", "cifar100")  # of which CIFAR-10-C and CIFAR-100-C are
COUNT_OR_NAMES = "a whole number >= 2 (the first K classes) or a list of two or more class names"


def _built(arch: str) -> str:
    if fault := architectures.fault(arch):
        raise ValueError(fault)
    return arch


Arch = Annotated[str, AfterValidator(_built)]


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
    tune: Tune = Tune()
    frozen: Frozen = Frozen()
    compare: Compare = Compare()
    robustness: Robustness = Robustness()


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
        hint = did_you_mean(path[-1], model.model_fields)
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
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))  # as DVC does
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the repository's root") from None
    except RecursionError:
        raise UserError(f"{path} is not valid: it is nested too deeply; allowed are settings and sections") from None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {_shown(values)}; allowed is a mapping of settings")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    for fault in _faults(settings):
        raise UserError(f"{path}: {fault}")
    return settings


def _faults(settings: Settings) -> Iterator[str]:
    """What each setting allows and their combination does not, as lines."""
    recipe = settings.finetune
    if settings.dataset == "folder" and settings.folder is None:
        yield "folder = null: dataset is folder, so give the root of train/<class>/* and test/<class>/*"
    if settings.dataset != "cifar100" and isinstance(settings.classes, list) and len(settings.classes) < 2:
        yield f"classes = {_shown(settings.classes)}: allowed is {COUNT_OR_NAMES}"
    if "lp_ft" in recipe.methods and recipe.epochs < 2:
        yield "finetune.epochs = 1: the method lp_ft needs 2 or more, one for the probe and one for fine-tuning"
    if recipe.schedule == "one_cycle" and recipe.warmup == 0:
        yield "finetune.warmup = 0: the rate of one_cycle rises first; allowed is more than 0, or null for 0.3"
    if settings.robustness.enabled and settings.robustness.corrupted and settings.dataset not in OFFICIAL:
        yield (
            f"robustness.corrupted = {settings.robustness.corrupted}: the official files are of CIFAR's test images; "
            f"allowed with dataset {' and '.join(OFFICIAL)}; null corrupts here"
        )
    if recipe.extendable and (recipe.schedule != "constant" or recipe.warmup or "lp_ft" in recipe.methods):
        yield (
            "finetune.extendable = true: what happens in the first epochs must not depend on how many follow; allowed "
            "with schedule constant, warmup null or 0, and the methods full and head"
        )
