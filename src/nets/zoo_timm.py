"""timm's classifiers, by `timm/<name>`: what timm says of each is taken from its `pretrained_cfg`.

timm is an optional requirement, see requirements-timm.txt.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from src.core.errors import UserError, did_you_mean
from src.nets.architectures import INSTALL_TIMM, TIMM

if TYPE_CHECKING:
    from torch import Tensor


def build(arch: str, outputs: int, image_size: int | None) -> nn.Module:
    """A randomly initialised network; one of a fixed input size is for images of that size, or of its own weights'.

    Raises:
        UserError: timm is not installed, has no such name, or its classifier is something else than a linear layer.
    """
    sized = _sized(arch, image_size)
    model = _create(arch, num_classes=outputs, **sized)
    head = head_of(model)
    if not isinstance(head, str):
        found = " and ".join(head or ["none"])
        raise UserError(f"{arch} has no single classifier ({found}), so no head that can be replaced; choose another")
    if not isinstance(layer := model.get_submodule(head), nn.Linear):
        raise UserError(f"{arch} ends in a {type(layer).__name__}, not in a linear layer to replace; choose another")
    return model


def head_of(model: nn.Module) -> Any:
    """The dotted name of the classifier; several, or None, where it has no single one."""
    cfg: Any = model.pretrained_cfg
    return cfg.get("classifier")


def fitted(arch: str, state: dict[str, "Tensor"], model: nn.Module, image_size: int | None) -> dict[str, "Tensor"]:
    """What timm makes of a state_dict for this network: names, and position embeddings for its image size."""
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} == wanted:
        return state
    outputs = len(state[f"{head_of(model)}.weight"])
    # That these weights have as many classes is what keeps timm from drawing a new classifier.
    given = {"state_dict": state, "num_classes": outputs, "label_offset": 0}
    try:
        made = _create(
            arch, pretrained=True, pretrained_cfg_overlay=given, num_classes=outputs, **_sized(arch, image_size)
        )
    except (RuntimeError, LookupError, AttributeError, ValueError):
        return state  # whoever compares it with the network says what differs
    return made.state_dict()


def normalisation(arch: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    cfg = _config(arch)
    return tuple(cfg.mean), tuple(cfg.std), cfg.interpolation


def fault_of_size(arch: str, image_size: int) -> str | None:
    """What timm says when a network without numbers is built for such images and shown one; it keeps no list."""
    try:
        with torch.device("meta"):
            model = build(arch, 1, image_size).eval()
            model(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError, TypeError, ZeroDivisionError) as error:
        made_for = _config(arch).min_input_size or _config(arch).input_size
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        return f"cannot take such images ({reason}); it was made for {made_for[-1]}, so try that or a multiple of 32"
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and image_size % patch[0]:  # timm would leave out the last pixels
        return f"sees patches of {patch[0]} pixels; allowed are multiples of {patch[0]}"
    return None


def published(arch: str, cache: Path, seed: int) -> dict[str, "Tensor"]:
    """The state_dict that timm fetches for the name, with a head of one output where it was published without any.

    Raises:
        UserError: none was published, or it cannot be fetched.
    """
    cfg = _config(arch)
    if not cfg.has_weights:
        raise UserError(f"timm knows no weights for {arch}; allowed are random, a file or an address")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _create(arch, pretrained=True, num_classes=cfg.num_classes or 1, cache_dir=cache)
    except (OSError, RuntimeError, ValueError) as error:  # a hub's errors are OSErrors
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"timm cannot fetch the weights of {arch} ({reason}); fetch model.safetensors from "
            f"https://huggingface.co/{cfg.hf_hub_id or TIMM} elsewhere, and give its path"
        ) from error
    return model.state_dict()


def _create(arch: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(arch.removeprefix(TIMM), **options)


def _sized(arch: str, image_size: int | None) -> dict[str, int]:
    """The option by which timm is told the size of images, where a network is for one size."""
    return {"img_size": image_size} if image_size and _config(arch).fixed_input_size else {}


def _config(arch: str) -> Any:
    """timm's description of the weights that a name stands for.

    Raises:
        UserError: timm is not installed, or has no such name.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise UserError(INSTALL_TIMM) from None
    name = arch.removeprefix(TIMM)
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError:
        found = None
    if found is None:
        hint = did_you_mean(name, timm.list_pretrained(), 3)
        raise UserError(
            f"{arch} is none of timm's; {hint}allowed are names of timm.list_models(), with or without a tag"
        )
    return found
