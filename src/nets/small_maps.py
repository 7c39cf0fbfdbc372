"""Ways to compute a convolution on the CPU, and the rules that choose one by shape and precision.

oneDNN, which PyTorch uses for convolutions on the CPU, is slow on small maps: it spends its time on reordering weights,
on taps that meet only padding, and on the gradients of depthwise kernels. Each other way computes the same from the
same numbers, so outputs and gradients differ by rounding alone. The rules are fixed, because a choice by timing would
give other bytes from run to run; `make bench` checks them on the machine at hand.

Maps are (B, C, H, W) in channels_last, kernels (O, I / groups, h, w).
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from src.nets import products

# At most so many pixels has a map on which a kernel of one tap is faster as a product.
POINTWISE = 16
# Products by tap need few positions, and matrices of so many weights for each tap, or starting them takes longer.
POSITIONS, OUTPUTS = 16, 4
WEIGHTS = {torch.bfloat16: 2**15}
FEWEST_WEIGHTS = 2**14
NATIVE = 3  # taps of the largest side, and pixels of the smallest, for which oneDNN's depthwise gradients are fast


class Shape(NamedTuple):
    """A convolution of maps of one size. `pads` are the zeros to the left, right, top and bottom, as F.pad takes them.

    Args:
        kernel: of the taps that are computed.
    """

    inputs: int
    outputs: int
    groups: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def result(self) -> tuple[int, int]:
        """Height and width of the output."""
        left, right, top, bottom = self.pads
        height, width = self.size[0] + top + bottom, self.size[1] + left + right
        return (height - self.kernel[0]) // self.stride[0] + 1, (width - self.kernel[1]) // self.stride[1] + 1

    @property
    def depthwise(self) -> bool:
        """Whether each channel has a kernel of its own."""
        return self.groups == self.inputs == self.outputs > 1


Way = Callable[[Tensor, Tensor, Tensor | None, Shape], Tensor]  # maps, kernel, bias -> maps


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    """The convolution in the way that the rules choose."""
    trains = torch.is_grad_enabled() and (weight.requires_grad or input.requires_grad)
    return WAYS[choose(shape, input.device.type, precision(input), trains)](input, weight, bias, shape)


def precision(input: Tensor) -> torch.dtype:
    """In which a layer computes: that of autocast where it is on, else its input's."""
    device = input.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else input.dtype


@cache
def choose(shape: Shape, device: str, dtype: torch.dtype, trains: bool) -> str:
    """The name of the fastest way, by rules that were measured on CPUs with AVX-512 (docs/speed.md).

    Args:
        trains: whether gradients will be computed.
    """
    possible = admissible(shape) if device == "cpu" else ("convolution",)
    if "product" in possible and (shape.kernel == shape.size or shape.size[0] * shape.size[1] <= POINTWISE):
        return "product"
    if "tap_products" in possible and shape.inputs * shape.outputs >= WEIGHTS.get(dtype, FEWEST_WEIGHTS):
        return "tap_products"
    if "scaling" in possible:
        return "scaling"
    if "depthwise" in possible and trains and not _native_gradients(shape, dtype):
        return "depthwise"
    return "convolution"


@cache
def admissible(shape: Shape) -> tuple[str, ...]:
    """The names of the ways that can compute a convolution on the CPU."""
    one_tap = shape.kernel == (1, 1) and shape.stride == (1, 1) and not any(shape.pads)
    positions, outputs = shape.size[0] * shape.size[1], shape.result[0] * shape.result[1]
    possible = {
        "convolution": True,
        "product": shape.groups == 1 and (one_tap or (shape.kernel == shape.size and not any(shape.pads))),
        "tap_products": shape.groups == 1 and positions <= POSITIONS and outputs <= OUTPUTS,
        "scaling": shape.depthwise and one_tap,
        "depthwise": shape.depthwise,
    }
    return tuple(name for name, can in possible.items() if can)


def arranged(weight: Tensor, shape: Shape) -> Tensor:
    """A kernel in the memory layout that the way of training in float32 reads: by tap, or channels_last."""
    if choose(shape, "cpu", torch.float32, trains=True) != "tap_products":
        return weight.contiguous(memory_format=torch.channels_last)
    return weight.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)


def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    """PyTorch's convolution; padding that differs between two sides is added before."""
    input, padding = _padded(input, shape)
    return F.conv2d(input, weight, bias, shape.stride, padding, 1, shape.groups)


def product(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    """A matrix product, for a kernel of 1 x 1 or as large as the map.

    512 to 512 channels on one pixel and batch 64, forward and backward: 2.8 ms as a convolution, 0.9 ms as a product
    (AVX2, two threads).
    """
    rows, kernel = input.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
    if shape.kernel != (1, 1):
        rows = rows.reshape(len(rows), 1, 1, -1)
    return products.linear(rows, kernel.flatten(1), bias).permute(0, 3, 1, 2)


def tap_products(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    """A matrix product for each pair of an output and an input pixel that a tap connects; see `TapProducts`.

    256 to 256 channels, kernel 3, on 2 x 2 and batch 64, forward and backward: 11.6 ms as a convolution and 5.6 ms so
    in float32, 6.4 and 3.6 ms in bfloat16 (AVX-512, one thread).
    """
    result = _maps(TapProducts.apply(input, weight, shape, precision(input)), shape.result)
    return result if bias is None else result + bias.to(result.dtype)[:, None, None]


def scaling(input: Tensor, weight: Tensor, bias: Tensor | None, _: Shape) -> Tensor:
    """A depthwise convolution with one tap: each channel times its weight."""
    dtype = precision(input)
    result = input.to(dtype) * weight.to(dtype).view(1, -1, 1, 1)
    return result if bias is None else result + bias.to(dtype).view(1, -1, 1, 1)


def depthwise(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    """A depthwise convolution with fast gradients; see `Depthwise`."""
    input, padding = _padded(input, shape)
    result = Depthwise.apply(input, weight, shape.stride, padding, precision(input))
    return result if bias is None else result + bias.to(result.dtype)[:, None, None]


WAYS: dict[str, Way] = {way.__name__: way for way in (convolution, product, tap_products, scaling, depthwise)}


def _padded(input: Tensor, shape: Shape) -> tuple[Tensor, tuple[int, int]]:
    """The maps, and the zeros that the convolution itself adds above and beside them, the same on both sides."""
    left, right, top, bottom = shape.pads
    if (left, top) == (right, bottom):
        return input, (top, left)
    return F.pad(input, shape.pads), (0, 0)


class Connection(NamedTuple):
    """An output pixel reads an input pixel by a tap; each is numbered row by row."""

    output: int
    tap: int
    input: int


@cache
def connections(shape: Shape) -> tuple[Connection, ...]:
    """All pairs of pixels that a tap connects."""
    across, down = shape.kernel[1], shape.kernel[0]

    def all_of() -> Iterator[Connection]:
        for output, input in ((o, i) for o in _pixels(shape.result) for i in _pixels(shape.size)):
            row = input[0] - output[0] * shape.stride[0] + shape.pads[2]
            column = input[1] - output[1] * shape.stride[1] + shape.pads[0]
            if 0 <= row < down and 0 <= column < across:
                yield Connection(
                    output[0] * shape.result[1] + output[1], row * across + column, input[0] * shape.size[1] + input[1]
                )

    return tuple(all_of())


def _pixels(size: tuple[int, int]) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size[0]) for column in range(size[1])]


class TapProducts(torch.autograd.Function):
    """Every connection adds the product of its input pixels (B, I) and its tap's weights (I, O) to its output pixels.

    Maps and kernels -> output pixels by position (h * w, B, O).

    Nothing is copied but the maps, and zeros of the padding are not multiplied. Weights are read in their own
    precision and cast here, once; their gradient has it too.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, shape: Shape, dtype: torch.dtype) -> Tensor:
        pixels, taps = _by_position(input, dtype), _by_position(weight, dtype)
        result = pixels.new_empty(shape.result[0] * shape.result[1], len(input), shape.outputs)
        add = _Sums(result)
        for each in connections(shape):
            add(each.output, pixels[each.input], taps[each.tap].t())
        add.fill()
        ctx.save_for_backward(pixels, taps)
        ctx.shape, ctx.dtypes = shape, (input.dtype, weight.dtype)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        pixels, taps = ctx.saved_tensors
        shape, upper = ctx.shape, gradients[0].contiguous()
        for_pixels, for_taps = torch.empty_like(pixels), torch.empty_like(taps)
        add_pixels, add_taps = _Sums(for_pixels), _Sums(for_taps)
        for each in connections(shape):
            if ctx.needs_input_grad[0]:
                add_pixels(each.input, upper[each.output], taps[each.tap])
            if ctx.needs_input_grad[1]:
                add_taps(each.tap, upper[each.output].t(), pixels[each.input])
        add_pixels.fill()
        add_taps.fill()
        of_weight = for_taps.view(*shape.kernel, shape.outputs, shape.inputs).permute(2, 3, 0, 1)
        return _maps(for_pixels, shape.size).to(ctx.dtypes[0]), of_weight.to(ctx.dtypes[1]), None, None


class _Sums:
    """Sums of matrix products, one for each matrix of a tensor that is empty at first."""

    def __init__(self, sums: Tensor) -> None:
        self.sums, self.started = sums, set[int]()

    def __call__(self, index: int, left: Tensor, right: Tensor) -> None:
        total = self.sums[index]
        if index in self.started:
            torch.addmm(total, left, right, out=total)  # PyTorch's counter of arithmetic knows no addmm_
        else:
            torch.mm(left, right, out=total)
            self.started.add(index)

    def fill(self) -> None:
        """Zeros where nothing was added, such as for a pixel that a stride skips."""
        for index in set(range(len(self.sums))) - self.started:
            self.sums[index].zero_()


def _by_position(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps or kernels (A, B, H, W) as contiguous matrices (H * W, A, B)."""
    return maps.permute(2, 3, 0, 1).to(dtype).reshape(-1, *maps.shape[:2]).contiguous()


def _maps(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Matrices (H * W, B, C) as maps in channels_last."""
    maps = pixels.view(*size, *pixels.shape[1:]).permute(2, 3, 0, 1)
    return maps.contiguous(memory_format=torch.channels_last)


class Depthwise(torch.autograd.Function):
    """A depthwise convolution whose gradients avoid what oneDNN has no fast kernel for."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], dtype: torch.dtype
    ) -> Tensor:
        ctx.dtypes, ctx.stride, ctx.padding = (input.dtype, weight.dtype), stride, padding
        input, weight = input.to(dtype), weight.to(dtype)
        ctx.save_for_backward(input, weight)
        with torch.autocast(input.device.type, enabled=False):
            return F.conv2d(input, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        input, weight = ctx.saved_tensors
        gradient = gradients[0].to(input.dtype)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = _input_gradient(gradient, input, weight, ctx.stride, ctx.padding).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(gradient, input, weight.shape, ctx.stride, ctx.padding).to(ctx.dtypes[1])
        return of_input, of_weight, None, None, None


def _input_gradient(
    gradient: Tensor, input: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """In float32 where a stride leaves oneDNN without a kernel in bfloat16.

    96 channels of 8 x 8, kernel 5, stride 2, batch 64: 30 ms in bfloat16, 0.2 ms in float32 (AVX-512, one thread).
    """
    if gradient.dtype == torch.bfloat16 and stride != (1, 1):
        gradient, input, weight = gradient.float(), input.float(), weight.float()
    wanted = (True, False, False)
    none, one = (0, 0), (1, 1)
    return torch.ops.aten.convolution_backward(
        gradient, input, weight, None, stride, padding, one, False, none, len(weight), wanted
    )[0]


def _weight_gradient(
    gradient: Tensor, input: Tensor, kernel: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The gradients (C, 1, h, w) of depthwise kernels: each map convolved with its gradient, summed over images.

    96 channels of 8 x 8, kernel 7, batch 64: 6.1 ms by oneDNN and 2.4 ms so in float32, 9.7 and 2.1 ms in bfloat16
    (AVX-512, one thread).
    """
    if gradient.shape[2:] == (1, 1):  # one position: a convolution by kernels of one tap is slow
        (above, beside), (rows, columns) = padding, kernel[2:]
        seen = F.pad(input, (beside, beside, above, above))[:, :, :rows, :columns]
        return (seen * gradient).sum(0, dtype=torch.promote_types(seen.dtype, torch.float32))[:, None]
    images, channels = input.shape[:2]
    maps = input.permute(2, 3, 0, 1).reshape(1, *input.shape[2:], -1).permute(0, 3, 1, 2)
    kernels = gradient.permute(2, 3, 0, 1).reshape(*gradient.shape[2:], 1, -1).permute(3, 2, 0, 1)
    each = F.conv2d(maps, kernels, None, 1, padding, stride, images * channels)[0, :, : kernel[2], : kernel[3]]
    summed = each.unflatten(0, (images, channels)).sum(0, dtype=torch.promote_types(each.dtype, torch.float32))
    return summed[:, None]


def _native_gradients(shape: Shape, dtype: torch.dtype) -> bool:
    """Whether oneDNN has fast kernels for the gradients of a depthwise convolution."""
    return max(shape.kernel) <= NATIVE <= min(shape.size) and (dtype != torch.bfloat16 or shape.stride == (1, 1))
