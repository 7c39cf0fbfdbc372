"""torchvision's classifiers: how each is built, what is published of it, and what its files call its tensors."""

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


# Their two auxiliary classifiers serve training from scratch alone. The published weights know inputs in [-1, 1], into
# which the networks themselves then turn ImageNet's normalisation.
_INCEPTIONS = ("googlenet", "inception_v3")
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Names in published files that torchvision renames as it loads them: `_load_state_dict` of its DenseNet, MLPBlock's
# `_load_from_state_dict` of its vision transformer.
_RENAMED = (
    (r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),
    (r"(encoder_layer_\d+\.mlp)\.linear_1\.", r"\1.0."),
    (r"(encoder_layer_\d+\.mlp)\.linear_2\.", r"\1.3."),
)
_POSITIONS = "encoder.pos_embedding"  # of a vision transformer: (1, 1 + places, D), the first of them no place


def build(arch: str, outputs: int, image_size: int | None) -> "nn.Module":
    """A randomly initialised network; a vision transformer is for images of that size, or of its published weights'."""
    from torchvision.models import get_model

    size = image_size or _weights(arch).meta["min_size"][0]
    options: dict[str, Any] = {}
    if arch in _INCEPTIONS:
        options = {"aux_logits": False, "transform_input": True, "init_weights": True}
    elif arch.startswith("vit_"):
        options = {"image_size": size}
    elif arch.startswith("maxvit_"):
        options = {"input_size": (size, size)}
    return get_model(arch, weights=None, num_classes=outputs, **options)


def fitted(state: dict[str, "Tensor"], model: "nn.Module") -> dict[str, "Tensor"]:
    """Renamed, without auxiliary classifiers, and with position embeddings interpolated to the network's image size."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    found = {_renamed(name): tensor for name, tensor in state.items() if not name.startswith(_AUXILIARY)}
    if isinstance(model, VisionTransformer) and size_of(found):
        return dict(interpolate_embeddings(model.image_size, model.patch_size, found))
    return found


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def size_of(state: dict[str, "Tensor"]) -> int | None:
    """Pixels of a side: as many patches as a vision transformer has positions."""
    positions, patches = state.get(_POSITIONS), state.get("conv_proj.weight")
    if positions is None or patches is None or positions.ndim != 3 or len(positions) != 1:
        return None
    side = math.isqrt(positions.shape[1] - 1)
    return side * patches.shape[-1] if side**2 == positions.shape[1] - 1 else None


def normalisation(arch: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    preset = _weights(arch).transforms()
    return tuple(preset.mean), tuple(preset.std), preset.interpolation.value


def imagenet_url(arch: str) -> str:
    """The address of torchvision's best ImageNet weights for the architecture."""
    return _weights(arch).url


def fault_of_size(arch: str, image_size: int) -> str | None:
    """Against the smallest size that torchvision states; a vision transformer states that of its weights, not of it."""
    least = max(_weights(arch).meta["min_size"])
    if arch.startswith("vit_"):
        import torch

        with torch.device("meta"):
            patch: Any = build(arch, 1, None).patch_size
        return f"sees patches of {patch} pixels; allowed are multiples of {patch}" if image_size % patch else None
    if arch.startswith("maxvit_"):
        return f"divides images into windows; allowed are multiples of {least}" if image_size % least else None
    return f"is too deep for so small images; allowed are {least} and more" if image_size < least else None


def _weights(arch: str) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(arch).DEFAULT
