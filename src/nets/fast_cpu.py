"""Faster convolutions on small feature maps, and batch normalisation folded into convolutions.

At 32 pixels the last feature map of ResNet-18 is one pixel large: eight of the nine taps of each 3 x 3 kernel multiply
zeros of the padding, and the 7 x 7 kernels of ConvNeXt see a map of 2 x 2. Such taps are left out, which changes
outputs by rounding only, and nothing at 224 pixels. The rest is computed in the way that is fastest on the CPU.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

SMALL = 16  # pixels of the largest map for which the CPU multiplies matrices faster than it convolves


class Reach(NamedTuple):
    """Along one side of a map: the taps `first` to `last` - 1 see pixels; zeros to add before and after the map."""

    first: int
    last: int
    before: int
    after: int


@cache
def reach(pixels: int, kernel: int, stride: int, before: int, after: int) -> Reach:
    """The taps of a kernel that see a pixel of the map at some position, and the padding that they need.

    If the padding is the same on both sides it stays so, or no tap is left out: a convolution pads both sides alike by
    itself, and any other padding costs a copy of the map.
    """
    positions = (pixels + before + after - kernel) // stride + 1
    seeing = [
        tap
        for tap in range(kernel)
        if any(0 <= position * stride + tap - before < pixels for position in range(positions))
    ]
    first, last = (seeing[0], seeing[-1] + 1) if seeing else (0, kernel)
    left = before - first
    if left >= 0 and (pixels + 2 * left - (last - first)) // stride + 1 == positions:
        return Reach(first, last, left, left)
    if left < 0 or before == after:
        return Reach(0, kernel, before, after)
    return Reach(first, last, left, max(0, (positions - 1) * stride + last - first - pixels - left))


def product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution (B, I, H, W) -> (B, O, h, w) as a matrix product, for a kernel of 1 x 1 or as large as the map."""
    rows, kernel = input.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
    if kernel.shape[1:3] != (1, 1):
        rows = rows.reshape(len(rows), 1, 1, -1)
    return F.linear(rows, kernel.flatten(1), bias).permute(0, 3, 1, 2)


class TrimmedConv2d(nn.Conv2d):
    """A convolution that uses only the taps of its kernel that see pixels; its parameters stay as they are."""

    pads: tuple[int, int, int, int]  # left, right, top, bottom, as F.pad takes them
    whole = False  # see `untrimmed`

    def forward(self, input: Tensor) -> Tensor:
        if TrimmedConv2d.whole:
            return F.conv2d(F.pad(input, self.pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        (height, width), (rows, columns), (down, across) = input.shape[2:], self.kernel_size, self.stride
        x, y = reach(width, columns, across, *self.pads[:2]), reach(height, rows, down, *self.pads[2:])
        weight, padding = self.weight, (y.before, x.before)
        if (y.last - y.first, x.last - x.first) != self.kernel_size:
            # A copy, since MPS has been wrong on views (pytorch#169342).
            weight = weight[:, :, y.first : y.last, x.first : x.last].contiguous()
        if padding != (y.after, x.after) or self._trains_faster_padded(input, padding):
            input, padding = F.pad(input, (x.before, x.after, y.before, y.after)), (0, 0)
        if padding == (0, 0) and self._faster_as_product(input, weight):
            return product(input, weight, self.bias)
        return F.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _trains_faster_padded(self, input: Tensor, padding: tuple[int, int]) -> bool:
        """Whether forward and backward pass are faster if the map is padded first.

        On the CPU, oneDNN is slow for a depthwise convolution that pads by half of the map or more: with 480 channels
        of 2 x 2 pixels, kernel 3 and batch 64, it takes 19 ms, and 1.6 ms on the padded map.
        """
        much = any(2 * zeros >= pixels for zeros, pixels in zip(padding, input.shape[2:], strict=True))
        return much and self.groups > 1 and input.device.type == "cpu" and torch.is_grad_enabled()

    def _faster_as_product(self, input: Tensor, weight: Tensor) -> bool:
        """Whether a matrix product gives the same and is faster: for kernels of one tap, or as large as the map.

        On the CPU, oneDNN spends its time on small maps with reordering weights: for 512 to 512 channels on one pixel
        and batch 64, forward and backward take 2.8 ms, and 0.9 ms as a product. From 8 x 8 pixels both are equal.
        """
        size, kernel = input.shape[2:], weight.shape[2:]
        pointwise = kernel == (1, 1) and self.stride == (1, 1) and size.numel() <= SMALL
        return (pointwise or kernel == size) and self.groups == 1 and input.device.type == "cpu"


@contextmanager
def untrimmed() -> Iterator[None]:
    """Multiply all taps meanwhile, those on the padding too, as publications count arithmetic."""
    TrimmedConv2d.whole = True
    try:
        yield
    finally:
        TrimmedConv2d.whole = False


def is_plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is a plain convolution; that of EfficientNet-Lite is one, and pads its input by itself.

    Other subclasses compute their weights or padding, such as timm's that standardise weights.
    """
    plain = type(layer) is nn.Conv2d or (isinstance(layer, nn.Conv2d) and hasattr(layer, "static_padding"))
    return plain and not isinstance(layer.padding, str)


def padding_of(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Zeros to the left, right, top and bottom, by the convolution itself or by EfficientNet-Lite's padding layer."""
    padding_layer = getattr(layer, "static_padding", None)
    if isinstance(padding_layer, nn.ZeroPad2d):
        left, right, top, bottom = padding_layer.padding
        return left, right, top, bottom
    vertical, horizontal = (int(zeros) for zeros in layer.padding)
    return horizontal, horizontal, vertical, vertical


def trim(model: nn.Module) -> nn.Module:
    """Trim the convolutions of a network in place; its state_dict stays the same."""
    for layer in model.modules():
        if is_plain(layer) and (layer.padding_mode, layer.dilation) == ("zeros", (1, 1)):
            pads = padding_of(layer)
            layer.__class__ = TrimmedConv2d
            assert isinstance(layer, TrimmedConv2d)
            layer.pads = pads
    return model


class _Layers(fx.Tracer):
    """Traces a network down to its layers; a library's own convolution counts as a layer."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def fold(model: nn.Module) -> nn.Module:
    """Fold each batch norm into the convolution before it, in evaluation mode; outputs change by rounding only.

    A pair is folded if nothing else reads the output of the convolution, and both are called once. A network whose
    calls depend on its inputs cannot be traced and stays as it is.
    """
    layers = dict(model.eval().named_modules())
    nodes = _layer_calls(model)
    calls = Counter(node.target for node in nodes)
    for node in nodes:
        if type(norm := layers[node.target]) is not nn.BatchNorm2d or calls[node.target] > 1:
            continue
        source = node.args[0]
        conv = layers.get(source.target) if source.op == "call_module" and calls[source.target] == 1 else None
        if conv is not None and is_plain(conv) and len(source.users) == 1:
            model.set_submodule(source.target, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(node.target, nn.Identity())
    return model


def _layer_calls(model: nn.Module) -> list[Any]:
    """The calls of a network's layers in order; empty if it has no batch norm or cannot be traced."""
    if not any(type(layer) is nn.BatchNorm2d for layer in model.modules()):
        return []
    try:
        nodes = _Layers().trace(model).nodes
    except (
        fx.proxy.TraceError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ):  # by whatever its code does with a proxy
        return []
    return [node for node in nodes if node.op == "call_module"]


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to the device in its fastest form: trimmed convolutions, weights in channels_last.

    Not on MPS, where channels_last makes the backward pass of a convolution ~30 times slower (pytorch#193349).
    """
    model = trim(model).to(device)
    return model if device.type == "mps" else model.to(memory_format=torch.channels_last)
