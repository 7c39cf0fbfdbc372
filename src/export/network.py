"""An arm's network as its library builds it: one state_dict, which the library loads."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src import arms
from src.core import design
from src.core.errors import UserError
from src.nets import models, preprocess, zoo
from src.nets.architectures import TIMM
from src.predict.arm import Arm
from src.settings.settings import Settings
from src.storage import files, paths

AFFINE = "linear and random_head"  # read-outs that are a layer
SAME = 1e-4  # of the largest logit: the most by which timm's network of the same names may differ


@dataclass(frozen=True)
class Exported:
    """A network (n, 3, S, S) -> (n, K) on the CPU, how it is to be built, and its preprocessing.

    Args:
        header: the settings of its training; of a frozen backbone nothing.
        timm_name: what timm calls the same network; None if it has none.
    """

    model: nn.Module
    arch: str
    weights: str
    view: preprocess.View
    header: dict[str, Any]
    timm_name: str | None


def read(arm: Arm, settings: Settings) -> Exported:
    """The network of the arm's only seed.

    Raises:
        UserError: the arm is a read-out that is no layer, or a file is missing.
    """
    backbone, adaptation = design.split(arm.name)
    (seed,) = arm.seeds
    if design.is_finetuned(arm.name):
        folder = paths.of_seed(paths.checkpoints(backbone), seed)
        state, header = files.read_tensors(folder / f"{adaptation}.safetensors")
        model, view = models.restore(header["arch"], state, header["image_size"]), preprocess.view_of(header)
        origin = header
    else:
        weights = arms.affine_file(paths.predictions(design.cell(arm.name)), seed, adaptation)
        if not weights.exists():
            raise UserError(f"{arm.name} is no network with a linear head; of read-outs {AFFINE} can be exported")
        state, origin = files.read_tensors(paths.weights(backbone))
        model = models.restore(origin["arch"], state, settings.image_size, needs_head=False)
        model = with_affine_head(model, files.read_arrays(weights))
        view = preprocess.view(origin["arch"], settings.image_size, settings.normalisation, weights=origin["weights"])
        header = {}
    model = model.eval().requires_grad_(False)
    name = timm_name(origin["arch"], model, view.size)
    return Exported(model, origin["arch"], origin["weights"], view, header, name)


def with_affine_head(model: nn.Module, parts: dict[str, np.ndarray]) -> nn.Module:
    """A backbone under a read-out (x - mean) / std @ weight.T + bias, as one linear layer."""
    mean, std, weight, bias = (parts[name].astype(np.float64) for name in ("mean", "std", "weight", "bias"))
    scaled = weight / std
    model = models.with_new_head(model, len(bias), 0)
    layer = model.get_submodule(models.head_name(model))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(scaled))  # type: ignore[operator]
        layer.bias.copy_(torch.from_numpy(bias - scaled @ mean))  # type: ignore[operator]
    return model


def timm_name(arch: str, model: nn.Module, size: int) -> str | None:
    """What timm calls a network that has the same names and shapes and answers the same; None if it has none."""
    name = arch.removeprefix(TIMM).partition(".")[0]
    state = model.state_dict()
    try:
        twin = zoo.build(f"{TIMM}{name}", len(models.head(model)[1]), size)
        twin.load_state_dict(state)
    except (UserError, RuntimeError):  # timm is not installed, has no such name, or others inside
        return None
    example = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = model(example), twin.eval()(example)
    return name if _close(ours, theirs) else None


def _close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= SAME * ours.abs().max().clamp(min=1))
