"""Find, fetch and read pretrained weights: of torchvision, a Python package, a file or a URL."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import UserError
from src.nets import zoo_lite, zoo_torchvision
from src.nets.architectures import LITE
from src.storage.fetch import fetch, hash_in_name
from src.storage.files import sha256

if TYPE_CHECKING:
    from torch import Tensor


def is_file(weights: str) -> bool:
    """Whether the setting `weights` is a path, rather than `imagenet`, `random` or a URL."""
    return weights not in ("imagenet", "random") and "://" not in weights


def fingerprint(role: str, weights: str, path: Path) -> str | None:
    """The SHA-256 of the weights at `path`, if the setting `<role>.weights` is a file; else None.

    Raises:
        UserError: the file does not exist.
    """
    if not is_file(weights):
        return None
    if not path.is_file():
        raise UserError(
            f"{role}.weights = {weights}: there is no file {path}; allowed are imagenet, random, a file, or an address "
            "ending in -<sha256>.pth"
        )
    return sha256(path)


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
    url = zoo_torchvision.imagenet_url(arch) if weights == "imagenet" else weights
    return fetch(url, downloads, hash_in_name(url))


def read(path: Path) -> dict[str, "Tensor"]:
    """The state_dict in a file of safetensors, or of PyTorch's format, of which only plain data are unpickled.

    Raises:
        UserError: it is neither of them, or holds no named tensors, see `state_dicts.unwrap`.
    """
    import torch
    from safetensors.torch import load_file

    from src.nets import state_dicts

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
    return state
