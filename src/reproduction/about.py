"""What both pages say of their runs, from the settings and the records: arms, weights, images, seeds, machine."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from src.core.records import Environment
from src.nets.architectures import LITE, TIMM
from src.reproduction.experiments import Experiment
from src.settings.backbones import Backbone
from src.settings.settings import Settings

REPORTS = {"resnet": ("resnet18", "ResNet-18"), "convnext": ("convnext_tiny", "ConvNeXt-Tiny")}


def arms(settings: Settings) -> str:
    """Both backbones and their weights in one sentence; what is not the report's is said in it."""
    legacy = _backbone(settings.resnet, *REPORTS["resnet"])
    modern = _backbone(settings.convnext, *REPORTS["convnext"])
    return f"The legacy arm is {legacy}; the modern arm is {modern}."


def _backbone(backbone: Backbone, arch: str, name: str) -> str:
    is_theirs = backbone.arch == arch
    other = "" if is_theirs else f", not {name} as in the report,"
    return f"`{backbone.arch}`{other} with {_weights(backbone)}"


def _weights(backbone: Backbone) -> str:
    if backbone.weights == "imagenet":
        if backbone.arch in LITE or backbone.arch.startswith(TIMM):
            return "the ImageNet weights of its package, not torchvision's as in the report"
        return "torchvision's ImageNet weights, as in the report"
    kind = "random weights" if backbone.weights == "random" else f"the weights `{Path(backbone.weights).name}`"
    return f"{kind}, not torchvision's ImageNet weights as in the report"


def images(settings: Settings) -> str:
    """The data set, and for a folder its name."""
    if settings.dataset != "folder":
        return settings.dataset
    return f"the folder `{Path(settings.folder or '').name}`, not the archive of CIFAR-10 as in the report"


def machine(environments: Sequence[Environment]) -> str:
    """The machines on which runs were made, each once."""
    words = [
        f"{part['processor']} ({part['device']}, {part['threads']} thread{'s'[: part['threads'] != 1]}, "
        f"{part['precision']}, torch {part['torch']})"
        for part in environments
    ]
    return "; ".join(dict.fromkeys(words))


def seeds(settings: Settings) -> str:
    """`5 seeds (0, 1, 2, 3, 4)`."""
    count = len(settings.seeds)
    return f"{count} seed{'s'[: count > 1]} ({', '.join(map(str, settings.seeds))})"


def names(experiments: Sequence[Experiment]) -> str:
    """The experiments as the command that draws this page again from them takes them."""
    return " ".join(dict.fromkeys(experiment.name for experiment in experiments))


def shown(override: str) -> str:
    """An override as a page shows it: of a path on this machine its last part alone."""
    name, _, value = override.partition("=")
    return f"{name}=path/to/{Path(value).name}" if Path(value).is_absolute() else override


def wrapped(text: str) -> str:
    """A paragraph, or an entry of a list, in lines as long as those of the other pages."""
    return textwrap.fill(text, 120, subsequent_indent="  " * text.startswith("- "), break_on_hyphens=False)
