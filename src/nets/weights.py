"""Where a backbone's weights come from: torchvision, a Python package, a file, an address, or chance."""

from pathlib import Path
from typing import TYPE_CHECKING

from src.core.errors import UserError
from src.nets import zoo_lite, zoo_torchvision
from src.nets.architectures import LITE
from src.storage.fetch import fetch, hash_in_name
from src.storage.files import sha256

if TYPE_CHECKING:
    from torch import Tensor


def is_file(weights: str) -> bool:
    """Whether the setting is a path, rather than `imagenet`, `random` or an address."""
    return weights not in ("imagenet", "random") and "://" not in weights


def fingerprint(role: str, weights: str, path: Path) -> str | None:
    """The SHA-256 of the file that a role's setting `weights` names, at `path`; None where it names no file.

    Raises:
        UserError: there is no such file.
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
    """The file that holds the weights, fetched where needed and checked; None for `random`.

    Raises:
        UserError: it cannot be fetched, or its hash is wrong.
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
    """The state_dict in a file: safetensors, or PyTorch's own format read without unpickling objects.

    Raises:
        UserError: it is neither, or holds something other than named tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # damaged files raise whatever their parser meets first
        raise UserError(
            f"{path} cannot be read as a state_dict ({type(error).__name__}); save one with torch.save or safetensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"{path} holds no state_dict; save model.state_dict()")
    return dict(state)
