"""The names of all architectures, without importing the libraries that build them, which takes seconds."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from src.core.errors import did_you_mean

LITE = tuple(f"efficientnet_lite{number}" for number in range(5))
TIMM = "timm/"  # the prefix of timm's names, as on the Hugging Face hub
INSTALL_TIMM = "the package timm is not installed; run pip install -r requirements-timm.txt"
# These have no last linear layer, before which a backbone could end.
HEADLESS = ("squeezenet1_0", "squeezenet1_1")


@cache
def registered(library: str) -> tuple[str, ...]:
    """The names in a library's `list_models()` that come from its folder `models`, read from its sources."""
    spec = find_spec(library)
    roots = spec.submodule_search_locations if spec else None
    sources = sorted(Path(root, "models") for root in roots or ())
    texts = [path.read_text(encoding="utf-8") for folder in sources for path in sorted(folder.glob("*.py"))]
    functions = (re.findall(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)", text, re.M) for text in texts)
    return tuple(sorted(name for names in functions for name in names))


def names() -> list[str]:
    """All architectures but timm's: torchvision's classifiers and the EfficientNet-Lite family."""
    return [name for name in registered("torchvision") if name not in HEADLESS] + list(LITE)


def fault(arch: str) -> str | None:
    """Why an architecture cannot be used, as one line; None if it can."""
    if arch in HEADLESS:
        return "its logits are means of a convolution's outputs, so it has no linear head to replace; choose another"
    if arch.startswith(TIMM):
        return _timm_fault(arch.removeprefix(TIMM))
    if arch in names():
        return None
    return f"{did_you_mean(arch, names())}allowed: {', '.join(names())}, and {TIMM}<name>"


def _timm_fault(name: str) -> str | None:
    """The same for a name of timm; the tag after a dot, which names published weights, is checked by timm."""
    timm_names = registered("timm")
    if not timm_names:
        return INSTALL_TIMM
    untagged = name.partition(".")[0]
    if untagged in timm_names:
        return None
    return f"{did_you_mean(untagged, timm_names)}allowed are the {len(timm_names):,} names of timm.list_models()"


def takes_any_size(arch: str) -> bool:
    """Whether the network takes images of any size from 32 pixels; for others, `zoo.require_size` asks the library."""
    return not arch.startswith((TIMM, "vit_", "maxvit_", "inception_", "alexnet"))
