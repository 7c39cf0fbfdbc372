"""Which library builds an architecture: torchvision, timm (`timm/<name>`), or EfficientNet-Lite's package.

Only the library that is asked for is imported; it takes seconds.
"""

from typing import TYPE_CHECKING

from src.core.errors import UserError
from src.nets.architectures import LITE, TIMM, takes_any_size

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(arch: str, outputs: int, image_size: int | None) -> "nn.Module":
    """A randomly initialised network with `outputs` logits, by the global generator.

    Args:
        image_size: of networks for images of one size; without it, they are for that of their published weights.

    Raises:
        UserError: timm has no such network, or none with a linear head, or is not installed.
    """
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        return zoo_timm.build(arch, outputs, image_size)
    if arch in LITE:
        from src.nets import zoo_lite

        return zoo_lite.build(arch, outputs)
    from src.nets import zoo_torchvision

    return zoo_torchvision.build(arch, outputs, image_size)


def fitted(arch: str, state: dict[str, "Tensor"], model: "nn.Module", image_size: int | None) -> dict[str, "Tensor"]:
    """A state_dict as the network names it, with position embeddings for its image size; `model` stays as it is."""
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        return zoo_timm.fitted(arch, state, model, image_size)
    from src.nets import zoo_torchvision

    return state if arch in LITE else zoo_torchvision.fitted(state, model)


def normalisation(arch: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """How images were readied for the published weights: mean and deviation of channels in [0, 1], interpolation."""
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        return zoo_timm.normalisation(arch)
    if arch in LITE:
        from src.nets import zoo_lite

        return zoo_lite.NORMALISATION
    from src.nets import zoo_torchvision

    return zoo_torchvision.normalisation(arch)


def require_size(arch: str, image_size: int) -> None:
    """Refuse an image size that the architecture cannot take.

    Raises:
        UserError: one line with the reason and what is allowed; or timm cannot build it at all.
    """
    if takes_any_size(arch):
        return
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        fault = zoo_timm.fault_of_size(arch, image_size)
    else:
        from src.nets import zoo_torchvision

        fault = zoo_torchvision.fault_of_size(arch, image_size)
    if fault:
        raise UserError(f"image_size = {image_size}: {arch} {fault}")
