"""Check once, before a network runs on MPS, that MPS computes what the CPU computes.

PyTorch's kernels for MPS have been wrong without an error: convolutions whose kernel has a side of 256 or more
(pytorch#188335), convolutions of views, which were right for the first image of a batch only (pytorch#169342), and
backward passes in channels_last (pytorch#140902). The kernels that a network uses can be checked, in its own shapes.

Each layer is checked by itself, and then the whole network. The network alone would not reveal every error: at 32
pixels all features of a pretrained EfficientNet-Lite2 are zero, whatever its convolutions compute, and the blocks of a
new ConvNeXt are scaled by a millionth.
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
BATCH = 8  # images: a wrong kernel may be right for one image
LARGEST = 224  # pixels, the largest size that is checked, since larger ones take the CPU seconds
# The largest relative error of a tensor, ||ours - theirs|| / ||theirs||. On the CPU, over all architectures at 32
# pixels, rounding makes at most 2e-6 in a layer (between two layouts) and 2e-5 in the output and gradients of a network
# (float32 against float64). MPS may round more coarsely; wrong kernels are wrong by tens of per cent.
TOLERANCE = 0.01
TINY = 1e-30  # the smallest root mean square to divide by, since devices may round smaller numbers to zero
# Batches on which the whole network must be wrong. A gradient jumps at the kink of an activation, and rounding decides
# on which side one of a million activations is: between two layouts on the CPU that made 1.5 % in Wide-ResNet-50.
TRIES = 3


@dataclass(frozen=True)
class Deviation:
    """Where two networks differ, and the relative error there; infinite if one of the numbers is NaN or infinite."""

    part: str
    error: float

    def __str__(self) -> str:
        if math.isinf(self.error):
            return f"{self.part} is not a number where the CPU's is"
        share = f"{self.error:.1%}" if self.error < 10 else "more than 1000%"  # the CPU's may be zero
        return f"{self.part} differs from the CPU by {share}, allowed is {TOLERANCE:.0%}"


@dataclass(frozen=True)
class Layer:
    """A layer as the network calls it: the shape and strides of its input, and whether that needs a gradient."""

    name: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool


def require(model: nn.Module, image_size: int) -> None:
    """If the network is on MPS, require that it computes there what it computes on the CPU; it stays as it is.

    The CPU's part takes one core of an AMD EPYC 0.2 s for ResNet-18 and 0.6 s for ConvNeXt-Tiny, at 32 pixels. CUDA is
    not checked: no such errors are known there, and its TF32 would need a tolerance of its own.

    Args:
        model: the gradients of its trainable parameters are compared too; a frozen model only runs forward.

    Raises:
        UserError: outputs or gradients differ by more than `TOLERANCE`.
    """
    device = next(model.parameters()).device
    if device.type != "mps":
        return
    deviation = difference(model, on_cpu(model), min(image_size, LARGEST))
    torch.mps.empty_cache()  # the stage reports the driver's memory as its own
    if deviation:
        raise UserError(f"device = {device.type}: {deviation}; use device = cpu, or another version of PyTorch")


def on_cpu(model: nn.Module) -> nn.Module:
    """A copy on the CPU; no second copy is made on the device."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("cpu", copy=True), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("cpu", copy=True)
    return copy.deepcopy(model, memo)


def difference(ours: nn.Module, theirs: nn.Module, image_size: int) -> Deviation | None:
    """The first layer, or else the network, whose output or gradients differ; None if all agree.

    Args:
        theirs: the reference on the CPU, with the same layers and weights. Both stay as they are.
    """
    device = next(ours.parameters()).device
    size = (BATCH, 3, image_size, image_size)
    with evaluation_mode(ours), evaluation_mode(theirs), torch.enable_grad():
        for layer in layers(theirs, noise(size, seed=0)):
            inputs = torch.empty_strided(layer.shape, layer.stride).copy_(noise(layer.shape, seed=0))
            mine, reference = ours.get_submodule(layer.name), theirs.get_submodule(layer.name)
            deviation = first_deviation(
                f"{layer.name} ({type(reference).__name__})",
                run(mine, inputs, device, layer.requires_grad),
                run(reference, inputs, CPU, layer.requires_grad),
            )
            if deviation:
                return deviation
        for seed in range(TRIES):
            inputs = noise(size, seed)
            deviation = first_deviation("the network", run(ours, inputs, device), run(theirs, inputs, CPU))
            if not deviation:
                return None
        return deviation


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The model is in evaluation mode in the block; afterwards every layer has its former mode."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """The layers that have weights or no parts, in the order of their calls; of equal layers, the first only."""
    distinct: dict[tuple[Any, ...], Layer] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if len(inputs) == 1 and all(isinstance(x, Tensor) and x.is_floating_point() for x in (*inputs, output)):
            (x,) = inputs
            called = Layer(name, tuple(x.shape), torch.empty_like(x).stride(), x.requires_grad)
            distinct.setdefault((kernel_key(layer), called.shape, called.stride, called.requires_grad), called)

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
    return list(distinct.values())


def kernel_key(layer: nn.Module) -> str:
    """A text that is the same for layers computed by the same kernels: type, options, and which weights are trained."""
    settings = {
        name: value for name, value in vars(layer).items() if isinstance(value, int | float | str | tuple | list)
    }
    return f"{layer} {settings} {[weight.requires_grad for weight in layer.parameters()]}"


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal numbers, the same for every device; the global generator is not used."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(layer: nn.Module, inputs: Tensor, device: torch.device, input_gradient: bool = False) -> dict[str, Tensor]:
    """The output of a layer and the gradients of its trainable weights, for a random output gradient; on the CPU.

    Args:
        device: that of the layer.
        input_gradient: whether to return the gradient of the inputs too.
    """
    inputs = inputs.to(device).requires_grad_(input_gradient)
    output = layer(inputs.clone())  # of a copy, since some layers work in place
    sources: dict[str, Tensor] = {
        f"gradient of {name}": weight for name, weight in layer.named_parameters() if weight.requires_grad
    }
    if input_gradient:
        sources["gradient of its input"] = inputs
    tensors = {"output": output.detach()}
    if output.requires_grad and sources:
        direction = noise(tuple(output.shape), seed=TRIES).to(output.device)
        gradients = torch.autograd.grad(output, list(sources.values()), direction, allow_unused=True)
        tensors |= {name: part for name, part in zip(sources, gradients, strict=True) if part is not None}
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def first_deviation(part: str, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Deviation | None:
    """The first tensor, beginning with the output, whose error is larger than `TOLERANCE`."""
    for name, reference in theirs.items():
        error = relative_error(ours[name], reference)
        if error > TOLERANCE:
            return Deviation(f"{part}: its {name}", error)
    return None


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """||ours - theirs|| / ||theirs||; 0 if theirs overflowed, infinite if only ours is not finite."""
    if not theirs.isfinite().all():
        return 0.0
    ours, theirs = ours.double(), theirs.double()
    error = float((ours - theirs).norm()) / max(float(theirs.norm()), TINY * math.sqrt(theirs.numel()))
    return error if math.isfinite(error) else math.inf
