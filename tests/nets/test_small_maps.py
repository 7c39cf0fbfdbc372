"""Ways to compute a convolution: each gives what PyTorch's convolution gives."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.nets import small_maps
from src.nets.small_maps import Shape
from src.nets.specialised import reach

SHAPES = [
    Shape(*channels, (size, size + more), (kernel, kernel), (stride, stride), pads)
    for channels, kernel, stride, pads, size, more in itertools.product(
        ((4, 6, 1), (4, 4, 4), (4, 8, 2)),
        (1, 2, 3, 5),
        (1, 2, 3),
        ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (0, 1, 0, 1)),
        (1, 2, 3, 4, 8),
        (0, 1),
    )
    if size + pads[2] + pads[3] >= kernel
]


def operands(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, kernel and bias."""
    torch.manual_seed(0)
    kernel = torch.randn(shape.outputs, shape.inputs // shape.groups, *shape.kernel, dtype=dtype)
    maps = torch.randn(3, shape.inputs, *shape.size, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return maps, small_maps.arranged(kernel, shape), torch.randn(shape.outputs, dtype=dtype)


def results(way: small_maps.Way, shape: Shape, given: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """Output, and gradients of maps, kernel and bias."""
    leaves = [each.detach().requires_grad_() for each in given]
    output = way(*leaves, shape)
    coefficients = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output, *torch.autograd.grad(output, leaves, coefficients)]


def plain(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    return F.conv2d(F.pad(input, shape.pads), weight, bias, shape.stride, 0, 1, shape.groups)


@pytest.mark.parametrize("name", small_maps.WAYS)
def test_outputs_and_gradients_are_those_of_a_plain_convolution(name):
    shapes = [shape for shape in SHAPES if name in small_maps.admissible(shape)]
    assert len(shapes) > 5
    for shape in shapes:
        given = operands(shape, torch.float64)
        expected = results(plain, shape, given)
        for ours, theirs in zip(results(small_maps.WAYS[name], shape, given), expected, strict=True):
            torch.testing.assert_close(ours, theirs, msg=f"{name}: {shape}")


def cut(shape: Shape) -> bool:
    """Whether every tap sees a pixel. Where one does not, oneDNN's gradients in bfloat16 are not always numbers."""
    left, right, top, bottom = shape.pads
    sides = zip(shape.size, shape.kernel, shape.stride, (top, left), (bottom, right), strict=True)
    return all(reach(*side)[:2] == (0, side[1]) for side in sides)


@pytest.mark.parametrize("name", small_maps.WAYS)
def test_under_autocast_it_computes_in_bfloat16_and_gradients_are_of_the_weights_precision(name):
    for shape in SHAPES:
        if name not in small_maps.admissible(shape) or not cut(shape):
            continue
        given = operands(shape, torch.float32)
        expected = results(plain, shape, given)
        with torch.autocast("cpu", torch.bfloat16):
            ours = results(small_maps.WAYS[name], shape, given)
        assert [each.dtype for each in ours] == [torch.bfloat16, torch.float32, torch.float32, torch.float32]
        for mine, theirs in zip(ours, expected, strict=True):
            error = (mine.float() - theirs).norm() / theirs.norm().clamp(min=0.1)
            assert error < 0.02, f"{name}: {shape}"


@pytest.mark.parametrize("shape", [Shape(256, 256, 1, (2, 2), (3, 3), (1, 1), (1, 1, 1, 1))])
def test_gradients_have_the_layout_of_their_weights_so_that_none_is_copied(shape):
    maps, kernel, bias = operands(shape, torch.float32)
    for dtype in (torch.float32, torch.bfloat16):
        leaf = kernel.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            small_maps.convolve(maps, leaf, bias, shape).float().sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.stride() == leaf.stride()


@pytest.mark.parametrize("name", small_maps.WAYS)
def test_a_layer_that_follows_may_change_the_output_in_place(name):
    for shape in SHAPES:
        if name in small_maps.admissible(shape):
            maps, kernel, _ = operands(shape, torch.float32)
            small_maps.WAYS[name](maps.requires_grad_(), kernel, None, shape).relu_().sum().backward()
            assert maps.grad is not None


def chosen(channels: int, size: int, kernel: int, stride: int = 1, groups: int = 1, **other) -> str:
    pads = other.pop("pads", (kernel // 2,) * 4)
    shape = Shape(channels, channels, groups, (size, size), (kernel, kernel), (stride, stride), pads)
    return small_maps.choose(shape, *{"device": "cpu", "dtype": torch.float32, "trains": True, **other}.values())


def test_the_rules():
    bf16 = {"dtype": torch.bfloat16}
    assert chosen(512, 1, 1) == chosen(8, 4, 1) == "product"
    assert chosen(512, 2, 2, 2, pads=(0, 0, 0, 0)) == "product"  # as large as the map
    assert chosen(8, 8, 1) == "convolution"  # on larger maps oneDNN is as fast
    assert chosen(256, 2, 3) == chosen(256, 2, 3, **bf16) == chosen(512, 4, 3, 2) == "tap_products"
    assert chosen(64, 2, 3) == chosen(128, 2, 3, **bf16) == chosen(256, 4, 3) == "convolution"
    assert chosen(768, 1, 1, groups=768) == "scaling"
    assert chosen(96, 8, 7, groups=96) == chosen(480, 2, 3, groups=480) == "depthwise"
    assert chosen(96, 8, 7, groups=96, trains=False) == chosen(96, 8, 3, groups=96) == "convolution"
    assert chosen(96, 8, 3, 2, groups=96, **bf16) == "depthwise"
    assert chosen(256, 2, 3, device="cuda") == chosen(512, 1, 1, device="mps") == "convolution"


def test_what_a_layer_does_is_what_the_rule_says(monkeypatch):
    shape, done = Shape(256, 256, 1, (2, 2), (3, 3), (1, 1), (1, 1, 1, 1)), []
    given = operands(shape, torch.float32)
    expected = small_maps.convolve(*given, shape)

    def noted(*operands):
        done.append("tap_products")
        return small_maps.tap_products(*operands)

    monkeypatch.setitem(small_maps.WAYS, "tap_products", noted)
    torch.testing.assert_close(small_maps.convolve(*given, shape), expected, rtol=0, atol=0)
    assert done == ["tap_products"]
