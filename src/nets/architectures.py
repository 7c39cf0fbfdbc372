"""Which architectures there are, without importing the libraries that build them, which takes seconds."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from src.core.errors import did_you_mean

LITE = tuple(f"efficientnet_lite{number}" for number in range(5))
TIMM = "timm/"  # before a name of timm's, as on the Hugging Face hub
INSTALL_TIMM = "the package timm is not installed; run pip install -r requirements-timm.txt"
# A backbone here is what comes before a last linear layer.
HEADLESS = ("squeezenet1_0", "squeezenet1_1")


@cache
def registered(library: str) -> tuple[str, ...]:
    """The names that a library's `list_models()` gives for its folder `models`, read from its sources."""
    spec = find_spec(library)
    places = spec.submodule_search_locations if spec else None
    sources = sorted(Path(place, "models") for place in places or ())
    texts = [path.read_text(encoding="utf-8") for folder in sources for path in sorted(folder.glob("*.py"))]
    found = [name for text in texts for name in re.findall(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)", text, re.M)]
    return tuple(sorted(found))


def names() -> list[str]:
    """Every architecture that needs no further package: torchvision's classifiers and the EfficientNet-Lite family."""
    return [name for name in registered("torchvision") if name not in HEADLESS] + list(LITE)


def fault(arch: str) -> str | None:
    """Why there is no such architecture, as one line; None where there is one."""
    if arch in HEADLESS:
        return "its logits are means of a convolution's outputs, so it has no linear head to replace; choose another"
    if arch.startswith(TIMM):
        return _fault_of_timms(arch.removeprefix(TIMM))
    if arch in names():
        return None
    return f"{did_you_mean(arch, names())}allowed: {', '.join(names())}, and {TIMM}<name>"


def _fault_of_timms(name: str) -> str | None:
    """The tag after a dot, which tells published weights apart, is left to timm itself."""
    known = registered("timm")
    if not known:
        return INSTALL_TIMM
    if name.partition(".")[0] in known:
        return None
    return f"{did_you_mean(name.partition('.')[0], known)}allowed are the {len(known):,} names of timm.list_models()"


def takes_any_size(arch: str) -> bool:
    """Whether images of 32 pixels or more of every size will do; of the others their library knows what will."""
    return not arch.startswith((TIMM, "vit_", "maxvit_", "inception_", "alexnet"))
