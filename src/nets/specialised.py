"""Networks specialised to the size of their images: convolutions own only the taps that see a pixel.

At 32 pixels the last feature map of ResNet-18 is one pixel large: eight of the nine taps of each 3 x 3 kernel multiply
zeros of the padding, and the 7 x 7 kernels of ConvNeXt see a map of 2 x 2. A specialised convolution leaves such taps
out, of its arithmetic and of its parameters: they get no gradient, no moments of the optimizer and no copies, and come
back unchanged in the state_dict, which is that of the whole network. On the CPU the rest is computed in the way that is
fastest for its shape (`small_maps`). Outputs change by rounding only, and nothing at 224 pixels.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.nets import products, small_maps
from src.nets.small_maps import Shape

ENABLED = True  # see `enable`


class Reach(NamedTuple):
    """Along one side of a map: the taps `first` to `last` - 1 see pixels; zeros to add before and after the map."""

    first: int
    last: int
    before: int
    after: int

    @property
    def taps(self) -> slice:
        return slice(self.first, self.last)


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


class SpecialisedConv2d(nn.Conv2d):
    """A convolution for maps of one size, whose `weight` holds only the taps that see a pixel there.

    Maps of another size are convolved with the whole kernel. In a state_dict the kernel is whole.
    """

    shape: Shape
    pads: tuple[int, int, int, int]  # of the whole kernel, see `Shape`
    taps: tuple[slice, ...]  # the part of the whole kernel that `weight` holds
    unseen: Tensor | None  # the whole kernel, of which the other taps are read; None if there are none
    untrimmed = False  # see `untrimmed`

    def forward(self, input: Tensor) -> Tensor:
        if SpecialisedConv2d.untrimmed or input.shape[2:] != self.shape.size:
            padded = F.pad(input, self.pads)
            return F.conv2d(padded, self.whole_kernel(), self.bias, self.stride, 0, self.dilation, self.groups)
        return small_maps.convolve(input, self.weight, self.bias, self.shape)

    @property
    def unseen_weights(self) -> int:
        """The number of weights that `weight` lacks."""
        return 0 if self.unseen is None else self.unseen.numel() - self.weight.numel()

    def whole_kernel(self) -> Tensor:
        """The kernel (O, I / groups, *kernel_size), with the taps that see no pixel."""
        if self.unseen is None:
            return self.weight
        kernel = self.unseen.to(self.weight.device, copy=True)
        kernel[self.taps] = self.weight
        return kernel

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.unseen is not None:
            kernel = self.whole_kernel()
            destination[f"{prefix}weight"] = kernel if keep_vars else kernel.detach()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        kernel = state_dict.get(f"{prefix}weight")
        if self.unseen is not None and kernel is not None and kernel.shape == self.unseen.shape:
            self.unseen = kernel.detach().to("cpu", copy=True)
            state_dict = {**state_dict, f"{prefix}weight": kernel[self.taps]}
        super()._load_from_state_dict(state_dict, prefix, *others)


@contextmanager
def untrimmed() -> Iterator[None]:
    """Multiply all taps meanwhile, those on the padding too, as publications count arithmetic."""
    SpecialisedConv2d.untrimmed = True
    try:
        yield
    finally:
        SpecialisedConv2d.untrimmed = False


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


def enable(on: bool) -> None:
    """Whether networks that are placed from now on are specialised: a choice of the process, as PyTorch's backends."""
    global ENABLED
    ENABLED = on


def specialise(model: nn.Module, image_size: int, device: torch.device) -> nn.Module:
    """Specialise the convolutions of a network that is still on the CPU to images of one size, in place.

    A convolution that the network calls on maps of several sizes, or never, stays as it is.

    Args:
        device: where the network will run. If that is not the CPU, convolutions of which every tap sees a pixel stay.
    """
    for layer, sizes in map_sizes(model, image_size).items():
        if len(sizes) == 1 and (layer.padding_mode, layer.dilation) == ("zeros", (1, 1)):
            _specialise(layer, sizes.pop(), device)
    return model


def map_sizes(model: nn.Module, image_size: int) -> dict[nn.Conv2d, set[tuple[int, int]]]:
    """The sizes of the maps on which a network calls each plain convolution, for images of one size."""
    sizes: dict[nn.Conv2d, set[tuple[int, int]]] = {layer: set() for layer in model.modules() if is_plain(layer)}

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        height, width = inputs[0].shape[2:]
        sizes[layer].add((height, width))

    hooks = [layer.register_forward_pre_hook(note) for layer in sizes]
    modes = {layer: layer.training for layer in model.modules()}
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, image_size, image_size, dtype=next(model.parameters()).dtype))
    for layer, mode in modes.items():
        layer.training = mode
    for hook in hooks:
        hook.remove()
    return sizes


def _specialise(layer: nn.Conv2d, size: tuple[int, int], device: torch.device) -> None:
    pads, (down, across), kernel = padding_of(layer), layer.stride, layer.weight
    rows = reach(size[0], kernel.shape[2], down, *pads[2:])
    columns = reach(size[1], kernel.shape[3], across, *pads[:2])
    cut = (rows.last - rows.first, columns.last - columns.first) != kernel.shape[2:]
    if not cut and device.type != "cpu":
        return
    layer.__class__ = SpecialisedConv2d
    assert isinstance(layer, SpecialisedConv2d)
    layer.pads, layer.taps, layer.unseen = pads, (slice(None), slice(None), rows.taps, columns.taps), None
    if cut:
        layer.unseen = kernel.detach()
        layer.weight = nn.Parameter(kernel.detach()[layer.taps].contiguous(), kernel.requires_grad)
    height, width = layer.weight.shape[2:]
    needed = (columns.before, columns.after, rows.before, rows.after)
    layer.shape = Shape(
        layer.in_channels, layer.out_channels, layer.groups, size, (height, width), (down, across), needed
    )


def place(model: nn.Module, image_size: int, device: torch.device) -> nn.Module:
    """Move a network to the device in its fastest form for images of one size: specialised, in channels_last.

    Not channels_last on MPS, where it makes the backward pass of a convolution ~30 times slower (pytorch#193349).
    """
    if ENABLED:
        specialise(model, image_size, device)
        if device.type == "cpu":
            products.use_fast(model)
    model = model.to(device)
    if device.type == "mps":
        return model
    model = model.to(memory_format=torch.channels_last)
    for layer in model.modules():
        if isinstance(layer, SpecialisedConv2d) and device.type == "cpu":
            layer.weight.data = small_maps.arranged(layer.weight.data, layer.shape)
    return model
