"""The settings of an experiment as one typed, bounded, documented model; the only reader of params.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from src.compare.config import Compare, question_fault
from src.core import design
from src.core.errors import UserError, did_you_mean
from src.core.section import Section, once, one_of
from src.data.config import ClassNames, Download
from src.finetune.config import Finetune
from src.prepare.config import Prepare
from src.readouts.config import Frozen
from src.robustness.config import Robustness
from src.settings import protocols
from src.settings.backbones import Backbones, Legacy, Modern, every, listed, setting
from src.settings.protocols import PROTOCOLS
from src.tune.config import Tune

OFFICIAL = ("cifar10", "cifar100")  # of which CIFAR-10-C and CIFAR-100-C are
COUNT_OR_NAMES = "a whole number >= 2 (the first K classes) or a list of two or more class names"
SEVERAL_TYPES = {"classes": COUNT_OR_NAMES, "prepare.per_class": "a whole number >= 2, or all"}
ALLOWED = {  # what pydantic's errors, by their type, say is allowed
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "list_type": "a list",
    "model_type": "a section of settings",
    "dict_type": "a section, such as {{size: [resnet50, resnet18]}}",
    "literal_error": "{expected}",
    "too_short": "a list that is not empty",
    "string_too_short": "text that is not empty",
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number >= {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number <= {le}",
}


Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Settings(Section):
    """All of params.yaml. A missing key takes the default here, which is that of the protocol `fair`."""

    protocol: Annotated[str, one_of(PROTOCOLS)] = Field(
        "fair",
        description="fair, report (as its figures were made) or report_text: decides every setting that is null",
    )
    dataset: Literal["cifar10", "cifar100", "cifar100_coarse", "digits", "folder"] = Field(
        "cifar10",
        description="cifar10, cifar100, cifar100_coarse (20 superclasses), digits or folder",
    )
    folder: str | None = Field(
        None,
        description="for dataset: folder, of train/<class>/** and test/ or val/<class>/**; relative to params.yaml",
    )
    classes: Annotated[int, Field(ge=2)] | ClassNames = Field(
        10,
        description="the first K classes, or names: [cat, dog]; of cifar100 superclasses too: [people, vehicles_1]",
    )
    subset_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="draws the K classes at random, by this seed; null: the first K"
    )
    image_size: int = Field(64, ge=32, le=2048, description="side in pixels of the images that both networks see")
    normalisation: Literal["weights", "half"] = Field(
        "weights", description="of channels: weights, as in pretraining, or half, less 0.5 by 0.5"
    )
    seeds: Annotated[list[Seed], AfterValidator(once)] = Field(
        [0, 1, 2],
        min_length=1,
        description="each decides a split, a new head, an order of images and an augmentation; [0] for a quick look",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="cuda, mps, cpu, or auto: the first of these that is there"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="of training: fp32, bf16, fp16 (not on the CPU), or auto: bf16 where the device has it; else fp32",
    )
    deterministic: bool = Field(
        False,
        description="on CUDA: algorithms that give the same bytes every time, and are slower; the CPU always has them",
    )
    specialised: bool = Field(
        True,
        description="leave out weights that see no pixel at this image_size, and compute small maps in faster ways",
    )
    # It changes no result, so it is in no experiment's name and on no page.
    resume: bool = Field(
        True,
        exclude=True,
        description="interrupted trainings resume, and embedded images are kept for all experiments; changes no result",
    )
    controls: bool = Field(
        True, description="complete the 2 x 2 table: also the legacy backbone frozen, and the modern one fine-tuned"
    )
    backbones: Backbones | None = Field(
        None, description="more than the two roles, each frozen and fine-tuned: [resnet18, resnet50@IMAGENET1K_V1]"
    )
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
    """The first error as one line: the setting, its value, what is allowed."""
    details = error.errors()
    # `classes` has two types, and an error for each; the last one is of the list of names, and says more.
    first = details[-1] if details[0]["loc"][0] == "classes" else details[0]
    path = [_named(str(part)) for part in first["loc"]]
    for name, allowed in SEVERAL_TYPES.items():
        # What follows the name is pydantic's word for a type, or a place in a list.
        if ".".join([*path, ""]).startswith(f"{name}."):
            return f"{name} = {_shown(first['input'])}: allowed is {allowed}"
    if first["type"] == "extra_forbidden":
        model: Any = Settings
        for part in path[:-1]:
            model = model.model_fields[part].annotation
        hint = did_you_mean(path[-1], model.model_fields)
        return f"{'.'.join(path)}: no such setting; {hint}allowed: {', '.join(model.model_fields)}"
    if known := ALLOWED.get(first["type"]):
        message = f"allowed is {known.format(**first.get('ctx', {}))}"
    else:
        message = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(path)} = {_shown(first['input'])}: {message}"


def _given_twice(error: DuplicateKeyError) -> str:
    name = error.problem.removeprefix('found duplicate key "').partition('" with value')[0]
    return f"{_named(name)} is given twice, again in line {error.problem_mark.line + 1}; delete one of the two"


def _named(name: Any) -> str:
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 80 else _shown(name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings in one level, those of sections by their dotted names: `finetune.lr`, as `-S` takes them."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        section = isinstance(value, Mapping)
        flattened |= {f"{key}.{name}": part for name, part in value.items()} if section else {key: value}
    return flattened


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read and check the settings.

    Raises:
        UserError: one line naming the setting, its value and what is allowed.
    """
    try:
        values = _values(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the command in the root of the repository") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; allowed are settings, and sections of settings") from None
    except DuplicateKeyError as error:
        raise UserError(f"{path}: {_given_twice(error)}") from None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {_shown(values)}; allowed are lines such as classes: 10")
    try:
        settings = Settings.model_validate(protocols.filled(values))
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    for fault in _faults(settings):
        raise UserError(f"{path}: {fault}")
    return settings


def _values(text: str) -> Any:
    """What YAML holds, as DVC reads it; but of the list of classes the names as they are written: 007, 1e3, null."""
    yaml = YAML(typ="safe", pure=True)
    document = yaml.compose(text)
    for key, value in document.value if isinstance(document, MappingNode) else ():
        for item in value.value if key.value == "classes" and isinstance(value, SequenceNode) else ():
            if isinstance(item, ScalarNode):
                item.tag = "tag:yaml.org,2002:str"
    return None if document is None else yaml.constructor.construct_document(document)


def _faults(settings: Settings) -> Iterator[str]:
    """Combinations of settings that are not allowed, each as a line."""
    defaults = flat(Settings().model_dump())
    if line := protocols.contradiction(settings.protocol, flat(settings.model_dump()), defaults):
        yield line
    yield from _backbone_faults(settings)
    yield from _comparison_faults(settings)
    yield from _finetune_faults(settings.finetune)
    if settings.dataset == "folder" and settings.folder is None:
        yield "folder = null: dataset is folder, which needs the root of train/<class>/* and test/<class>/*"
    if settings.dataset != "cifar100" and isinstance(settings.classes, list) and len(settings.classes) < 2:
        yield f"classes = {_shown(settings.classes)}: allowed is {COUNT_OR_NAMES}"
    if settings.robustness.enabled and settings.robustness.corrupted and settings.dataset not in OFFICIAL:
        yield (
            f"robustness.corrupted = {settings.robustness.corrupted}: the official files hold CIFAR's test images; "
            f"allowed with dataset {' and '.join(OFFICIAL)}; with others set it to null"
        )


def _comparison_faults(settings: Settings) -> Iterator[str]:
    """Choices without validation images to choose on, and a question about arms that are not there."""
    finetune, prepare = settings.finetune, settings.prepare
    if prepare.val_fraction == 0 and finetune.watch == "validation":
        yield "prepare.val_fraction = 0: there are no validation images to watch; allowed with finetune.watch test"
    if prepare.val_fraction == 0 and settings.tune.configurations > 1:
        yield "prepare.val_fraction = 0: a configuration is chosen on validation images; allowed with one configuration"
    if prepare.val_fraction == 0 and (choosing := {"linear", "knn"} & set(settings.frozen.readouts)):
        yield (
            f"prepare.val_fraction = 0: frozen.readouts {' and '.join(sorted(choosing))} choose on validation images; "
            "allowed are centroid, zero_shot and random_head"
        )
    cells = design.CELLS if settings.controls else design.QUESTION
    for name, backbone in every(settings.backbones, settings.resnet, settings.convnext).items():
        frozen = name not in design.ROLES or f"{name}.frozen" in cells
        if frozen and settings.frozen.readouts == ["zero_shot"] and backbone.weights == "random":
            yield (
                f"frozen.readouts = [zero_shot]: {setting(name, backbone)} has no head that was pretrained on "
                "ImageNet; allowed with other weights, or with another read-out beside it, such as linear"
            )
    arms = [
        f"{cell.split('.')[0]}.{adaptation}"
        for cell in cells
        for adaptation in (finetune.methods if cell.endswith("finetuned") else settings.frozen.readouts)
    ]
    if line := question_fault(settings.compare.question, design.representatives(arms), arms):
        yield line


def _finetune_faults(finetune: Finetune) -> Iterator[str]:
    """Settings of the training that do not go together."""
    if "lp_ft" in finetune.methods and finetune.epochs < 2:
        yield "finetune.epochs = 1: the method lp_ft needs 2 or more, one for the head and one for everything"
    if finetune.schedule == "one_cycle" and finetune.warmup == 0:
        yield "finetune.warmup = 0: one_cycle begins with a warm-up; allowed is more than 0, or null for 0.3"
    if finetune.optimizer == "sgd" and finetune.nesterov and not finetune.momentum:
        yield "finetune.nesterov = true: Nesterov's method has a momentum; allowed with finetune.momentum > 0"
    if finetune.extendable and (finetune.schedule != "constant" or finetune.warmup or "lp_ft" in finetune.methods):
        yield (
            "finetune.extendable = true: the first epochs must not depend on the number of epochs; allowed with "
            "schedule constant, warmup null or 0, and the methods full and head"
        )


def _backbone_faults(settings: Settings) -> Iterator[str]:
    """Lists of backbones and contrasts of them that are not allowed."""
    if (settings.backbones or settings.compare.contrasts) and not settings.controls:
        yield "controls = false: backbones and contrasts of them need each frozen and fine-tuned; set it to true"
    known = [each.name for each in listed(settings.backbones, settings.resnet, settings.convnext).values()]
    for contrast, pair in (settings.compare.contrasts or {}).items():
        for name in pair:
            if name not in known:
                yield (
                    f"compare.contrasts.{contrast} = [{', '.join(pair)}]: {name} is not one of the backbones; "
                    f"{did_you_mean(name, known)}allowed: {', '.join(known)}"
                )
