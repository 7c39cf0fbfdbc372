"""The arms of the experiment by name: which backbone, and how it was adapted. For every stage that holds several arms.

An arm is one backbone, adapted in one way: `resnet.full`, `convnext.linear`. The backbones' roles are the names of
stages, files and metrics whatever architecture plays them: `resnet` is the legacy one, `convnext` the modern one.
"""

from collections.abc import Mapping

ROLES = ("resnet", "convnext")
FINETUNED = ("full", "head", "lp_ft")
READOUTS = ("linear", "knn", "centroid", "zero_shot", "random_head")

# The cells of the 2 x 2 table, and the two of them that the report compared.
CELLS = ("resnet.finetuned", "resnet.frozen", "convnext.finetuned", "convnext.frozen")
QUESTION = ("resnet.finetuned", "convnext.frozen")

_WORDS = {"full": "fine-tuned", "head": "head trained", "lp_ft": "probed, then fine-tuned", "knn": "frozen, k-NN"}


def split(name: str) -> tuple[str, str]:
    """`convnext.linear` -> (`convnext`, `linear`)."""
    role, adaptation = name.split(".")
    return role, adaptation


def is_finetuned(name: str) -> bool:
    """Whether the arm was trained by gradient descent, rather than read off frozen features."""
    return split(name)[1] in FINETUNED


def cell(name: str) -> str:
    """The cell of the 2 x 2 table that an arm belongs to: `convnext.linear` -> `convnext.frozen`."""
    return f"{split(name)[0]}.{'finetuned' if is_finetuned(name) else 'frozen'}"


def called(archs: Mapping[str, str]) -> dict[str, str]:
    """What people call each role's backbone: its architecture, with the role where both have the same."""
    if len(set(archs.values())) < len(archs):
        return {role: f"{arch} ({role})" for role, arch in archs.items()}
    return dict(archs)


def title(name: str, backbone: str) -> str:
    """An arm for people, its backbone by the name it is `called`: `resnet18, fine-tuned`."""
    adaptation = split(name)[1]
    words = _WORDS.get(adaptation, f"frozen, {adaptation.replace('_', ' ')}")
    return f"{backbone}, {words}"
