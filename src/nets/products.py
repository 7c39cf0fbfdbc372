"""Matrix products of layers, computed by oneDNN where PyTorch's own choice, MKL, is slow.

PyTorch multiplies float32 matrices by MKL, which takes slower paths on processors that Intel did not make, and copies
the bias to the output before. oneDNN, which is in PyTorch too, does not. ConvNeXt-Tiny at 32 pixels on an AMD EPYC with
AVX-512, one thread: 123 and 108 ms for all products of a forward pass, 123 and 106 ms for the gradients of its inputs.
The gradients of weights take the same time by both, and stay with MKL. In bfloat16 PyTorch uses oneDNN by itself.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@cache
def fast() -> bool:
    """Whether oneDNN is there and MKL is slow."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and not str(torch.cpu.get_capabilities().get("cpu_name", "")).startswith("Intel")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` on the CPU, by oneDNN where that is fast: in float32 alone."""
    if not _suits(input):
        return F.linear(input, weight, bias)
    return Product.apply(input.reshape(-1, input.shape[-1]), weight, bias).view(*input.shape[:-1], -1)


def _suits(input: Tensor) -> bool:
    """Whether products of this input are computed by oneDNN."""
    here = input.device.type == "cpu" and input.dtype == torch.float32
    return fast() and here and not torch.is_autocast_enabled("cpu")


class FastLinear(nn.Linear):
    """A linear layer on the CPU that computes its product by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class LinearGELU(nn.Linear):
    """A linear layer and the GELU that follows it, for a network that only answers.

    oneDNN applies it to what it has just computed. ConvNeXt-Tiny at 32 pixels, batch 128, answers 1.17 times as fast
    (1.06 to 1.25 in 15 rounds in turns; AMD EPYC with AVX-512, two threads).
    """

    def forward(self, input: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if learns or not _suits(input):
            return F.gelu(linear(input, self.weight, self.bias))
        return _linear(input, self.weight, self.bias, "gelu")


class Product(torch.autograd.Function):
    """Inputs (N, I), weights (O, I) and a bias (O,) or None -> (N, O).

    Of more axes oneDNN's output would be a view, which a layer that follows could not change in place.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,), (input, weight) = gradients, ctx.saved_tensors
        return (
            _linear(gradient, weight.t(), None) if ctx.needs_input_grad[0] else None,
            gradient.t() @ input if ctx.needs_input_grad[1] else None,
            gradient.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, activation, [], "none")


def flops(input_shape: torch.Size, weight_shape: torch.Size, *_: Any, **__: Any) -> int:
    """Additions and multiplications, for PyTorch's counter, which does not know the operation."""
    return 2 * input_shape.numel() * weight_shape[0]


def use_fast(model: nn.Module) -> None:
    """Have the linear layers of a network on the CPU compute their products by `linear`."""
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = FastLinear
