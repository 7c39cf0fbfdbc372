"""Whether a device computes what the CPU computes, asked once before it is trusted.

PyTorch's kernels for MPS have been wrong without a word: convolutions of which a kernel's side had 256 rows or more
(pytorch#188335), convolutions of views, right for a batch's first image alone (pytorch#169342), backward passes of
channels_last (pytorch#140902). Not every kernel of every shape can be tried, but those that a network is made of can.

The layers are asked one by one, and the whole network only after them. Alone it would not do: at 32 pixels all features
of a pretrained EfficientNet-Lite2 are zero, whatever its convolutions compute, and the blocks of a new ConvNeXt are
scaled by a millionth.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from src.core.errors import UserError

CPU = torch.device("cpu")
BATCH = 8  # images: a kernel may be right for one alone
LARGEST = 224  # pixels; for larger images this size is checked, which takes the CPU seconds
# Of ||ours - theirs|| / ||theirs||, by tensor. On the CPU, in every architecture at 32 pixels, rounding makes 2e-6 of
# it at most in a layer (between two layouts), 2e-5 in a network's output and gradients (float32 against float64). MPS
# may round more coarsely; what is wrong is wrong by tens of per cent.
TOLERANCE = 0.01
TINY = 1e-30  # root mean square of a tensor; devices may take what is much smaller for zero
# A gradient jumps where an activation has its kink, and one of a million may be so near to it that rounding decides: it
# made 1.5 % in Wide-ResNet-50, between two layouts on the CPU. On one batch that is chance, on all of them it is not.
TRIES = 3


@dataclass(frozen=True)
class Deviation:
    """Where two networks differ, and the relative error there: infinite where one's number is none."""

    place: str
    error: float

    def __str__(self) -> str:
        if math.isinf(self.error):
            return f"{self.place} is not a number where the CPU's is"
        share = f"{self.error:.1%}" if self.error < 10 else "more than 1000%"  # the CPU's may be zero
        return f"{self.place} differs from the CPU by {share}, allowed is {TOLERANCE:.0%}"


@dataclass(frozen=True)
class Layer:
    """A layer as the network calls it: the shape of its input, and the strides that it has in memory.

    `learns` tells whether a gradient is asked for of the input.
    """

    name: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    learns: bool


def require(model: nn.Module, image_size: int) -> None:
    """Refuse to go on where MPS, if the network lies there, differs from the CPU. The network is not changed.

    The CPU's part takes one core of an AMD EPYC 0.2 s for ResNet-18 and 0.6 s for ConvNeXt-Tiny, at 32 pixels. CUDA is
    not asked: nothing is known against it, and its TF32 would need a tolerance of its own.

    Args:
        model: of which gradients are compared as far as its parameters learn; a frozen one is only run forward.

    Raises:
        UserError: they differ by more than rounding does.
    """
    device = next(model.parameters()).device
    if device.type != "mps":
        return
    found = difference(model, on_cpu(model), min(image_size, LARGEST))
    torch.mps.empty_cache()  # what the driver holds is reported as the stage's memory
    if found:
        raise UserError(f"device = {device.type}: {found}; use device = cpu, or another version of PyTorch")


def on_cpu(model: nn.Module) -> nn.Module:
    """A copy on the CPU, without a second one on the device."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("cpu", copy=True), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("cpu", copy=True)
    return copy.deepcopy(model, memo)


def difference(ours: nn.Module, theirs: nn.Module, image_size: int) -> Deviation | None:
    """The first layer whose output or gradients differ from the reference's, else the network's; None if none does.

    Args:
        theirs: the reference, on the CPU. Both have the same layers and weights, and stay as they are.
    """
    device = next(ours.parameters()).device
    size = (BATCH, 3, image_size, image_size)
    with evaluating(ours), evaluating(theirs), torch.enable_grad():
        for layer in layers(theirs, noise(size, seed=0)):
            inputs = torch.empty_strided(layer.shape, layer.stride).copy_(noise(layer.shape, seed=0))
            mine, reference = ours.get_submodule(layer.name), theirs.get_submodule(layer.name)
            called = f"{layer.name} ({type(reference).__name__})"
            found = first(
                called, answer(mine, inputs, device, layer.learns), answer(reference, inputs, CPU, layer.learns)
            )
            if found:
                return found
        for seed in range(TRIES):
            inputs = noise(size, seed)
            found = first("the network", answer(ours, inputs, device), answer(theirs, inputs, CPU))
            if not found:
                return None
        return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Running statistics and dropout stand still inside, and every layer has its mode again afterwards."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """What has weights of its own or no parts, as the network calls it and in that order; of those alike, the first."""
    found: dict[tuple[Any, ...], Layer] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if len(inputs) == 1 and all(isinstance(x, Tensor) and x.is_floating_point() for x in (*inputs, output)):
            (x,) = inputs
            called = Layer(name, tuple(x.shape), torch.empty_like(x).stride(), x.requires_grad)
            found.setdefault((kind(layer), called.shape, called.stride, called.learns), called)

    def hook(name: str) -> Any:
        return lambda layer, inputs, output: record(name, layer, inputs, output)

    handles = [
        layer.register_forward_hook(hook(name))
        for name, layer in model.named_modules()
        if name and (list(layer.parameters(recurse=False)) or not list(layer.children()))
    ]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def kind(layer: nn.Module) -> str:
    """All that decides by which kernels a layer is computed: what it says of itself, the rest of its plain settings."""
    settings = {
        name: value for name, value in vars(layer).items() if isinstance(value, int | float | str | tuple | list)
    }
    return f"{layer} {settings} {[weight.requires_grad for weight in layer.parameters()]}"


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """The same normal numbers for every device, drawn aside from everyone else's."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answer(layer: nn.Module, inputs: Tensor, device: torch.device, learns: bool = False) -> dict[str, Tensor]:
    """The output, and the gradients of what learns for a random direction of the output; on the CPU.

    Args:
        device: where the layer lies.
        learns: whether the gradient of the inputs is among them.
    """
    inputs = inputs.to(device).requires_grad_(learns)
    output = layer(inputs.clone())  # of a copy, since some layers work in place
    wanted: dict[str, Tensor] = {
        f"gradient of {name}": weight for name, weight in layer.named_parameters() if weight.requires_grad
    }
    if learns:
        wanted["gradient of its input"] = inputs
    found = {"output": output.detach()}
    if output.requires_grad and wanted:
        direction = noise(tuple(output.shape), seed=TRIES).to(output.device)
        gradients = torch.autograd.grad(output, list(wanted.values()), direction, allow_unused=True)
        found |= {name: part for name, part in zip(wanted, gradients, strict=True) if part is not None}
    return {name: part.cpu() for name, part in found.items()}


def first(place: str, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Deviation | None:
    """The first part, from the output on, whose error is larger than what is allowed."""
    for name, reference in theirs.items():
        error = relative_error(ours[name], reference)
        if error > TOLERANCE:
            return Deviation(f"{place}: its {name}", error)
    return None


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """||ours - theirs|| / ||theirs||; 0 where the reference overflowed, infinite where ours alone is no number."""
    if not theirs.isfinite().all():
        return 0.0
    ours, theirs = ours.double(), theirs.double()
    error = float((ours - theirs).norm()) / max(float(theirs.norm()), TINY * math.sqrt(theirs.numel()))
    return error if math.isfinite(error) else math.inf
