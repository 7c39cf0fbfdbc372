"""The names of the design: roles of backbones, adaptations, arms, and the cells of the 2 x 2 table.

An arm is one backbone adapted in one way: `resnet.full`, `convnext.linear`. Stages, files and metrics are named after
the role of the backbone, whatever its architecture: `resnet` is the legacy one, `convnext` the modern one. Those of a
further backbone have a short name made from its architecture and weights: `resnet50-IMAGENET1K_V1.full`.
"""

import re
from collections.abc import Mapping, Sequence

from src.core.errors import UserError

ROLES = ("resnet", "convnext")
FINETUNED = ("full", "head", "lp_ft")


# The cells of the 2 x 2 table, and the two that the report compared.
CELLS = ("resnet.finetuned", "resnet.frozen", "convnext.finetuned", "convnext.frozen")
QUESTION = ("resnet.finetuned", "convnext.frozen")

_WORDS = {"full": "fine-tuned", "head": "head trained", "lp_ft": "probed, then fine-tuned", "knn": "frozen, k-NN"}


def plain_name(backbone: str) -> str:
    """A backbone as `<arch>@<weights>`, or as `<arch>` with its best published weights."""
    return backbone.removesuffix("@imagenet")


def short_name(backbone: str) -> str:
    """What arms and files of a further backbone are called: `timm/resnet18.a1_in1k` -> `timm-resnet18-a1_in1k`."""
    return re.sub(r"[^\w-]+", "-", backbone, flags=re.ASCII)


def split(name: str) -> tuple[str, str]:
    """`convnext.linear` -> (`convnext`, `linear`)."""
    role, adaptation = name.split(".")
    return role, adaptation


def is_finetuned(name: str) -> bool:
    """Whether the arm was trained by gradient descent; the others are read-outs of frozen features."""
    return split(name)[1] in FINETUNED


def cell(name: str) -> str:
    """The cell of the 2 x 2 table that an arm belongs to: `convnext.linear` -> `convnext.frozen`."""
    return f"{split(name)[0]}.{'finetuned' if is_finetuned(name) else 'frozen'}"


def display_names(archs: Mapping[str, str]) -> dict[str, str]:
    """The display name of each role's backbone: its architecture, followed by the role if both have the same."""
    if len(set(archs.values())) < len(archs):
        return {role: f"{arch} ({role})" for role, arch in archs.items()}
    return dict(archs)


def title(name: str, backbone: str) -> str:
    """The display name of an arm: `resnet18, fine-tuned`. `backbone` is one of `display_names`."""
    adaptation = split(name)[1]
    words = _WORDS.get(adaptation, f"frozen, {adaptation.replace('_', ' ')}")
    return f"{backbone}, {words}"


def representatives(names: Sequence[str]) -> dict[str, str]:
    """The arm that represents each cell: the first adaptation that all backbones of its column have.

    With a read-out that only one backbone has, the table would compare read-outs instead of backbones.

    Raises:
        UserError: the backbones of a column have no adaptation in common.
    """
    chosen: dict[str, str] = {}
    for column in ("finetuned", "frozen"):
        adaptations: dict[str, list[str]] = {}
        for name in names:
            if cell(name).endswith(column):
                adaptations.setdefault(split(name)[0], []).append(split(name)[1])
        first, *others = adaptations.values()
        common = [adaptation for adaptation in first if all(adaptation in other for other in others)]
        if not common:
            setting = {"finetuned": "finetune.methods", "frozen": "frozen.readouts"}[column]
            raise UserError(f"{setting}: no entry is available for every backbone; add one that is, such as linear")
        chosen |= {f"{role}.{column}": f"{role}.{common[0]}" for role in adaptations}
    return {cell(name): name for name in names if name in chosen.values()}


OOD_SCORES = {"msp": "softmax probability", "energy": "energy", "knn": "k-NN distance"}

# Settings that a sweep varies, with the option that gives each its values.
SWEPT = {
    "classes": "--classes",
    "subset_seed": "--subset-seeds",
    "prepare.shots": "--shots",
    "image_size": "--sizes",
    "seeds": "--seeds",
}
