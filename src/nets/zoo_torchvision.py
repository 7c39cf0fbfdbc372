"""The networks of torchvision: how they are built, and how their published weights are named and preprocessed."""

import math
import re
from typing import TYPE_CHECKING, Any

from src.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn


# Built without their two auxiliary classifiers, which serve training from scratch only. Their weights are for inputs in
# [-1, 1], to which the networks themselves convert ImageNet's normalisation (`transform_input`).
_INCEPTIONS = ("googlenet", "inception_v3")
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Names in published files that torchvision renames when it loads them: in `_load_state_dict` of densenet.py, and in
# `_load_from_state_dict` of MLPBlock in vision_transformer.py.
_RENAMED = (
    (r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),
    (r"(encoder_layer_\d+\.mlp)\.linear_1\.", r"\1.0."),
    (r"(encoder_layer_\d+\.mlp)\.linear_2\.", r"\1.3."),
)
_WITHOUT_HEAD = "IMAGENET1K_FEATURES"  # of vgg16: the layers before its classifier alone
_POSITIONS = "encoder.pos_embedding"  # of a vision transformer: (1, 1 + patches, D), the first is of the class token


def build(arch: str, outputs: int, image_size: int | None) -> "nn.Module":
    """A randomly initialised network with `outputs` logits.

    Args:
        image_size: for vision transformers and MaxViT; None for that of the published weights.
    """
    from torchvision.models import get_model

    return get_model(arch, weights=None, num_classes=outputs, **options(arch, image_size))


def options(arch: str, image_size: int | None) -> dict[str, Any]:
    """What torchvision is told of an architecture besides its name and the number of logits; see `build`."""
    size = image_size or _weights(arch).meta["min_size"][0]
    if arch in _INCEPTIONS:
        return {"aux_logits": False, "transform_input": True, "init_weights": True}
    if arch.startswith("vit_"):
        return {"image_size": size}
    if arch.startswith("maxvit_"):
        return {"input_size": (size, size)}
    return {}


def convert_state(state: dict[str, "Tensor"], model: "nn.Module") -> dict[str, "Tensor"]:
    """Rename tensors, drop auxiliary classifiers, and interpolate position embeddings to the model's image size."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    state = {_renamed(name): tensor for name, tensor in state.items() if not name.startswith(_AUXILIARY)}
    if isinstance(model, VisionTransformer) and size_of(state):
        return dict(interpolate_embeddings(model.image_size, model.patch_size, state))
    return state


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def size_of(state: dict[str, "Tensor"]) -> int | None:
    """The image size of a vision transformer's weights in pixels, from its number of patches; None for others."""
    positions, patches = state.get(_POSITIONS), state.get("conv_proj.weight")
    if positions is None or patches is None or positions.ndim != 3 or len(positions) != 1:
        return None
    side = math.isqrt(positions.shape[1] - 1)
    return side * patches.shape[-1] if side**2 == positions.shape[1] - 1 else None


def normalisation(arch: str, weights: str = "imagenet") -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean and standard deviation of channels in [0, 1], interpolation; of the version that `weights` names, if any."""
    preset = _weights(arch, weights).transforms()
    return tuple(preset.mean), tuple(preset.std), preset.interpolation.value


def imagenet_url(arch: str, weights: str = "imagenet") -> str:
    """The URL of torchvision's best ImageNet weights for the architecture, or of the version that `weights` names."""
    return _weights(arch, weights).url


def require_version(arch: str, version: str) -> None:
    """Require that torchvision published these weights of the architecture, such as IMAGENET1K_V2.

    Raises:
        UserError: it did not, with what is allowed.
    """
    published = [name for name in _versions(arch) if name not in ("DEFAULT", _WITHOUT_HEAD)]
    if version not in published:
        raise UserError(f"{did_you_mean(version, published)}of {arch} torchvision has {', '.join(published)}")


def fault_of_size(arch: str, image_size: int) -> str | None:
    """Why the network cannot take images of this size; None if it can.

    torchvision states the smallest size. For a vision transformer that is the size of its weights, so that the patch
    size decides.
    """
    least = max(_weights(arch).meta["min_size"])
    if arch.startswith("vit_"):
        import torch

        with torch.device("meta"):
            patch: Any = build(arch, 1, None).patch_size
        return f"sees patches of {patch} pixels; allowed are multiples of {patch}" if image_size % patch else None
    if arch.startswith("maxvit_"):
        return f"divides images into windows; allowed are multiples of {least}" if image_size % least else None
    return f"is too deep for so small images; allowed are {least} and more" if image_size < least else None


def _weights(arch: str, weights: str = "imagenet") -> Any:
    """The version of an architecture's weights with its metadata: the best one, if `weights` names none."""
    versions = _versions(arch)
    return versions.get(weights, versions["DEFAULT"])


def _versions(arch: str) -> dict[str, Any]:
    """By name the versions of an architecture's weights; `DEFAULT` names the best once more."""
    from torchvision.models import get_model_weights

    return dict(get_model_weights(arch).__members__)
