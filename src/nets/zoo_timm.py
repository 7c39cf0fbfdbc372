"""The networks of timm, named `timm/<name>`. Their properties are read from timm's `pretrained_cfg`.

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
    """A randomly initialised network with `outputs` logits.

    Args:
        image_size: for networks of a fixed input size; None for that of the published weights.

    Raises:
        UserError: timm is not installed or does not have the name, or the classifier is not a linear layer.
    """
    model = _create(arch, num_classes=outputs, **_size_option(arch, image_size))
    head = head_of(model)
    if not isinstance(head, str):
        several = " and ".join(head or ["none"])
        raise UserError(f"{arch} has no single classifier ({several}), so no head that can be replaced; choose another")
    if not isinstance(layer := model.get_submodule(head), nn.Linear):
        raise UserError(f"{arch} ends in a {type(layer).__name__}, not in a linear layer to replace; choose another")
    return model


def head_of(model: nn.Module) -> Any:
    """The dotted name of the classifier; a tuple if there are several, None if there is none."""
    cfg: Any = model.pretrained_cfg
    return cfg.get("classifier")


def convert_state(
    arch: str, state: dict[str, "Tensor"], model: nn.Module, image_size: int | None
) -> dict[str, "Tensor"]:
    """Let timm convert a published state_dict to the names of `model`, and its position embeddings to the image size.

    A state_dict that timm cannot load is returned as it is.
    """
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} == shapes:
        return state
    outputs = len(state[f"{head_of(model)}.weight"])
    # With another `num_classes`, timm would initialise a new classifier.
    cfg = {"state_dict": state, "num_classes": outputs, "label_offset": 0}
    options = {"num_classes": outputs, **_size_option(arch, image_size)}
    try:
        converted = _create(arch, pretrained=True, pretrained_cfg_overlay=cfg, **options)
    except (RuntimeError, LookupError, AttributeError, ValueError):
        return state  # `models.restore` reports the first difference
    return converted.state_dict()


def normalisation(arch: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean and standard deviation of channels in [0, 1], interpolation."""
    cfg = _config(arch)
    return tuple(cfg.mean), tuple(cfg.std), cfg.interpolation


def fault_of_size(arch: str, image_size: int) -> str | None:
    """Why the network cannot take images of this size; None if it can.

    timm has no list of sizes, so a network on the device `meta` is run on one image.
    """
    try:
        with torch.device("meta"):
            model = build(arch, 1, image_size).eval()
            model(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError, TypeError, ZeroDivisionError) as error:
        made_for = _config(arch).min_input_size or _config(arch).input_size
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        return f"cannot take such images ({reason}); it was made for {made_for[-1]}, so try that or a multiple of 32"
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and image_size % patch[0]:  # timm would ignore the last pixels
        return f"sees patches of {patch[0]} pixels; allowed are multiples of {patch[0]}"
    return None


def published(arch: str, cache: Path, seed: int) -> dict[str, "Tensor"]:
    """The published state_dict; weights published without a head get one of one output, initialised by `seed`.

    Raises:
        UserError: no weights were published, or they cannot be fetched.
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


def _size_option(arch: str, image_size: int | None) -> dict[str, int]:
    """timm's option for the image size, for networks of a fixed input size."""
    return {"img_size": image_size} if image_size and _config(arch).fixed_input_size else {}


def _config(arch: str) -> Any:
    """timm's `pretrained_cfg` of a name.

    Raises:
        UserError: timm is not installed, or does not have the name.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise UserError(INSTALL_TIMM) from None
    name = arch.removeprefix(TIMM)
    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError:
        cfg = None
    if cfg is None:
        hint = did_you_mean(name, timm.list_pretrained(), 3)
        raise UserError(
            f"{arch} is none of timm's; {hint}allowed are names of timm.list_models(), with or without a tag"
        )
    return cfg
