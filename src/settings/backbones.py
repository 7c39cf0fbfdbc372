"""The backbones of an experiment: the two roles, and a list that may hold more."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from src.core import design
from src.core.section import Section
from src.nets import architectures


def _built(arch: str) -> str:
    if fault := architectures.fault(arch):
        raise ValueError(fault)
    return arch


Arch = Annotated[str, AfterValidator(_built)]


class Backbone(Section):
    """An architecture and the weights that it starts from."""

    arch: Arch = Field(description="any of torchvision's classifiers, efficientnet_lite0 to 4, or timm/<name>")
    weights: str = Field(
        "imagenet",
        min_length=1,
        description="imagenet, a version (IMAGENET1K_V1), random, a file, or an address ending in -<sha256>.pth",
    )

    @property
    def name(self) -> str:
        """As the list has it: `resnet50@IMAGENET1K_V2`, and the architecture alone with `imagenet`."""
        return self.arch if self.weights == "imagenet" else f"{self.arch}@{self.weights}"


class Legacy(Backbone):
    """The legacy backbone; stages, files and metrics call it resnet."""

    arch: Arch = Field("resnet18", description=Backbone.model_fields["arch"].description)


class Modern(Backbone):
    """The modern backbone; stages, files and metrics call it convnext."""

    arch: Arch = Field("convnext_tiny", description=Backbone.model_fields["arch"].description)


def _entry(text: str) -> str:
    arch, at, weights = text.partition("@")
    _built(arch)
    if at and not weights:
        raise ValueError(
            f"no weights after @; allowed are {arch}, or {arch}@ and a version, random, a file or an address"
        )
    return design.plain_name(text)


def _several(names: list[str]) -> list[str]:
    if len(names) < 2:
        raise ValueError(
            "allowed are two or more, such as [resnet18, resnet50, convnext_tiny], or null for the two roles"
        )
    called: dict[str, str] = {}
    for name in names:
        if other := called.get(design.short_name(name)):
            what = f"{name} is there twice" if name == other else f"{other} and {name} would have the same files"
            raise ValueError(f"{what}; name each once")
        called[design.short_name(name)] = name
    return names


Backbones = Annotated[list[Annotated[str, AfterValidator(_entry)]], AfterValidator(_several)]


def listed(names: Sequence[str] | None, resnet: Backbone, convnext: Backbone) -> dict[str, Backbone]:
    """The backbones of the list by what their arms are called by; those of null are the two roles.

    An entry that is a role's architecture and weights is that role: its arms stand for the entry.
    """
    roles = dict(zip(design.ROLES, (resnet, convnext), strict=True))
    if names is None:
        return roles
    by_name = {backbone.name: role for role, backbone in reversed(roles.items())}  # the first of two that are the same
    found = {}
    for name in names:
        arch, _, weights = name.partition("@")
        found[by_name.get(name, design.short_name(name))] = Backbone(arch=arch, weights=weights or "imagenet")
    return found


def further(names: Sequence[str] | None, resnet: Backbone, convnext: Backbone) -> dict[str, Backbone]:
    """Those of the list that are neither role."""
    return {name: each for name, each in listed(names, resnet, convnext).items() if name not in design.ROLES}


def every(names: Sequence[str] | None, resnet: Backbone, convnext: Backbone) -> dict[str, Backbone]:
    """Both roles and the further ones."""
    return {"resnet": resnet, "convnext": convnext} | further(names, resnet, convnext)


def setting(name: str, backbone: Backbone) -> str:
    """The setting that a backbone's weights come from, with its value, for people."""
    return f"{name}.weights = {backbone.weights}" if name in design.ROLES else f"backbones, {backbone.name}"
