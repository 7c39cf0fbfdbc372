"""Convolutions without the work that small maps spare.

At 32 pixels, ResNet-18's last feature map is one pixel large: of each 3 x 3 kernel there, eight taps multiply zeros, in
both directions, and ConvNeXt's 7 x 7 kernels see a map of 2 x 2. Leaving such taps out changes no output but by
rounding, and nothing at 224 pixels. What is left is computed in the way that the CPU is fast at.
"""

from collections import Counter
from functools import cache
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

SMALL = 16  # pixels of a map up to which the CPU multiplies matrices faster than it convolves


class Reach(NamedTuple):
    """Along one side of a map: the taps `first` to `last` - 1 see a pixel; zeros to put before and after the map."""

    first: int
    last: int
    before: int
    after: int


@cache
def reach(pixels: int, kernel: int, stride: int, before: int, after: int) -> Reach:
    """What of a kernel sees a pixel of a map at any place, and the padding it then needs.

    Padding that is the same on both sides stays so, or nothing is left out: a convolution pads both sides alike by
    itself, and anything else costs a copy of the map.
    """
    places = (pixels + before + after - kernel) // stride + 1
    seeing = [
        tap for tap in range(kernel) if any(0 <= place * stride + tap - before < pixels for place in range(places))
    ]
    first, last = (seeing[0], seeing[-1] + 1) if seeing else (0, kernel)
    left = before - first
    if left >= 0 and (pixels + 2 * left - (last - first)) // stride + 1 == places:
        return Reach(first, last, left, left)
    if left < 0 or before == after:
        return Reach(0, kernel, before, after)
    return Reach(first, last, left, max(0, (places - 1) * stride + last - first - pixels - left))


def product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution (B, I, H, W) -> (B, O, h, w) as a matrix product: of a 1 x 1 kernel, or one as large as the map."""
    rows, kernel = input.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
    if kernel.shape[1:3] != (1, 1):
        rows = rows.reshape(len(rows), 1, 1, -1)
    return F.linear(rows, kernel.flatten(1), bias).permute(0, 3, 1, 2)


class TrimmedConv2d(nn.Conv2d):
    """A convolution whose kernel is cut to the taps that its input lets see a pixel; its weights stay as they are."""

    pads: tuple[int, int, int, int]  # left, right, top, bottom, as F.pad takes them

    def forward(self, input: Tensor) -> Tensor:
        (height, width), (rows, columns), (down, across) = input.shape[2:], self.kernel_size, self.stride
        x, y = reach(width, columns, across, *self.pads[:2]), reach(height, rows, down, *self.pads[2:])
        weight, padding = self.weight, (y.before, x.before)
        if (y.last - y.first, x.last - x.first) != self.kernel_size:
            # A copy, since MPS has been wrong on views (pytorch#169342).
            weight = weight[:, :, y.first : y.last, x.first : x.last].contiguous()
        if padding != (y.after, x.after) or self._learns_faster_padded(input, padding):
            input, padding = F.pad(input, (x.before, x.after, y.before, y.after)), (0, 0)
        if padding == (0, 0) and self._faster_as_product(input, weight):
            return product(input, weight, self.bias)
        return F.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _learns_faster_padded(self, input: Tensor, padding: tuple[int, int]) -> bool:
        """Whether the backward pass is faster on a map that is padded before.

        On the CPU, a depthwise convolution that pads by half its map or more takes oneDNN's slow way: 480 channels of
        2 x 2 pixels, kernel 3, batch 64: 19 ms forward and backward, and 1.6 ms on the padded map.
        """
        much = any(2 * zeros >= pixels for zeros, pixels in zip(padding, input.shape[2:], strict=True))
        return much and self.groups > 1 and input.device.type == "cpu" and torch.is_grad_enabled()

    def _faster_as_product(self, input: Tensor, weight: Tensor) -> bool:
        """Whether a matrix product is faster; it is one where the kernel is a single tap or covers the whole map.

        On the CPU, oneDNN's time on small maps goes into the order of the weights: 512 to 512 channels on one pixel,
        batch 64: 2.8 ms forward and backward, and 0.9 ms as a product; the same from some 8 x 8 pixels on.
        """
        size, kernel = input.shape[2:], weight.shape[2:]
        pointwise = kernel == (1, 1) and self.stride == (1, 1) and size.numel() <= SMALL
        return (pointwise or kernel == size) and self.groups == 1 and input.device.type == "cpu"


def is_plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer convolves its input with its weights as they are; EfficientNet-Lite's does, and pads by itself.

    Others compute their weights or their padding: those of timm's that standardise weights, for instance.
    """
    plain = type(layer) is nn.Conv2d or (isinstance(layer, nn.Conv2d) and hasattr(layer, "static_padding"))
    return plain and not isinstance(layer.padding, str)


def padding_of(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below: a convolution's own, or of the layer by which EfficientNet-Lite pads."""
    apart = getattr(layer, "static_padding", None)
    if isinstance(apart, nn.ZeroPad2d):
        left, right, top, bottom = apart.padding
        return left, right, top, bottom
    vertical, horizontal = (int(zeros) for zeros in layer.padding)
    return horizontal, horizontal, vertical, vertical


def trim(model: nn.Module) -> nn.Module:
    """The same network, with the same names and numbers, whose convolutions are trimmed."""
    for layer in model.modules():
        if is_plain(layer) and (layer.padding_mode, layer.dilation) == ("zeros", (1, 1)):
            pads = padding_of(layer)
            layer.__class__ = TrimmedConv2d
            assert isinstance(layer, TrimmedConv2d)
            layer.pads = pads
    return model


class _Layers(fx.Tracer):
    """Follows a network from layer to layer, without looking into those that are convolutions of a library's own."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def fold(model: nn.Module) -> nn.Module:
    """The same network in evaluation mode, a layer less for each such pair; outputs change by rounding alone.

    The two are a pair where nothing else reads what the convolution puts out, and neither is called twice. A network
    that cannot be followed, since what it does depends on its inputs, stays as it is.
    """
    layers = dict(model.eval().named_modules())
    nodes = list(_followed(model))
    calls = Counter(node.target for node in nodes)
    for node in nodes:
        if type(norm := layers[node.target]) is not nn.BatchNorm2d or calls[node.target] > 1:
            continue
        feeder = node.args[0]
        conv = layers.get(feeder.target) if feeder.op == "call_module" and calls[feeder.target] == 1 else None
        if conv is not None and is_plain(conv) and len(feeder.users) == 1:
            model.set_submodule(feeder.target, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(node.target, nn.Identity())
    return model


def _followed(model: nn.Module) -> list[Any]:
    """The calls of a network's layers in their order; none where it has nothing to fold, or cannot be followed."""
    if not any(type(layer) is nn.BatchNorm2d for layer in model.modules()):
        return []
    try:
        nodes = _Layers().trace(model).nodes
    except (fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError):  # what its code does to a proxy
        return []
    return [node for node in nodes if node.op == "call_module"]


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to the device, in the form that is fast there: trimmed convolutions, channels last.

    That layout is left on MPS, where it makes the convolution's backward pass ~30x slower (pytorch#193349).
    """
    model = trim(model).to(device)
    return model if device.type == "mps" else model.to(memory_format=torch.channels_last)
