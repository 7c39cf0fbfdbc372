"""The arms of the experiment by name: which backbone, and how it was adapted. For every stage that holds several arms.

An arm is one backbone, adapted in one way: `resnet.full`, `convnext.linear`. The backbones' roles are the names of
stages, files and metrics whatever architecture plays them: `resnet` is the legacy one, `convnext` the modern one.
"""

ROLES = ("resnet", "convnext")
FINETUNED = ("full", "head", "lp_ft")
READOUTS = ("linear", "knn", "centroid", "zero_shot", "random_head")

_WORDS = {"full": "fine-tuned", "head": "head trained", "lp_ft": "probed, then fine-tuned", "knn": "frozen, k-NN"}


def split(name: str) -> tuple[str, str]:
    """`convnext.linear` -> (`convnext`, `linear`)."""
    role, adaptation = name.split(".")
    return role, adaptation


def is_finetuned(name: str) -> bool:
    """Whether the arm was trained by gradient descent, rather than read off frozen features."""
    return split(name)[1] in FINETUNED


def title(name: str, arch: str, *, named_by_role: bool = False) -> str:
    """An arm for people: `resnet18, fine-tuned`; with `named_by_role` also where both roles have one architecture."""
    role, adaptation = split(name)
    words = _WORDS.get(adaptation, f"frozen, {adaptation.replace('_', ' ')}")
    return f"{arch} ({role}), {words}" if named_by_role else f"{arch}, {words}"
