"""One interface to the three libraries of networks: torchvision, timm (`timm/<name>`) and EfficientNet-Lite.

Each is imported when one of its networks is needed, because that takes seconds.
"""

from typing import TYPE_CHECKING

from src.core.errors import UserError
from src.nets.architectures import LITE, TIMM, takes_any_size

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(arch: str, outputs: int, image_size: int | None) -> "nn.Module":
    """A network with `outputs` logits, initialised by the global random generator.

    Args:
        image_size: for networks that take images of one size only; None for that of the published weights.

    Raises:
        UserError: timm does not have the network, it has no linear head, or timm is not installed.
    """
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        return zoo_timm.build(arch, outputs, image_size)
    if arch in LITE:
        from src.nets import zoo_lite

        return zoo_lite.build(arch, outputs)
    from src.nets import zoo_torchvision

    return zoo_torchvision.build(arch, outputs, image_size)


def convert_state(
    arch: str, state: dict[str, "Tensor"], model: "nn.Module", image_size: int | None
) -> dict[str, "Tensor"]:
    """Convert a published state_dict to the names of `model`, and its position embeddings to the image size."""
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        return zoo_timm.convert_state(arch, state, model, image_size)
    from src.nets import zoo_torchvision

    return state if arch in LITE else zoo_torchvision.convert_state(state, model)


def normalisation(arch: str, weights: str = "imagenet") -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """The preprocessing of the published weights: mean and standard deviation of channels in [0, 1], interpolation.

    Args:
        weights: the setting; of a version of torchvision's weights, the preprocessing is its own.
    """
    if arch.startswith(TIMM):
        from src.nets import zoo_timm

        return zoo_timm.normalisation(arch)
    if arch in LITE:
        from src.nets import zoo_lite

        return zoo_lite.NORMALISATION
    from src.nets import zoo_torchvision

    return zoo_torchvision.normalisation(arch, weights)


def require_size(arch: str, image_size: int) -> None:
    """Require that the architecture takes images of this size.

    Raises:
        UserError: it does not, with the reason and what is allowed; or timm cannot build it at all.
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
