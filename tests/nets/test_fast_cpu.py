"""Trimmed convolutions: the outputs and gradients of whole ones, for less work."""

import itertools

import pytest
import torch
from efficientnet_lite_pytorch.utils import Conv2dStaticSamePadding
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from src.nets import models
from src.nets.fast_cpu import TrimmedConv2d, reach, trim

SHAPES = [
    (kernel, stride, padding, size)
    for kernel, stride, padding, size in itertools.product((1, 2, 3, 5, 7), (1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 3, 4, 8))
    if size + 2 * padding >= kernel
]


def both(layer: nn.Conv2d, inputs: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Output, and gradients of input, weight and bias: of the layer, and of the same layer trimmed."""
    results = []
    for _ in range(2):
        given = inputs.clone().requires_grad_()
        output = layer(given)
        coefficients = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        results.append([output, *torch.autograd.grad(output, [given, layer.weight, layer.bias], coefficients)])
        trim(nn.Sequential(layer))
    return results[0], results[1]


@pytest.mark.parametrize("groups", [1, 4])
def test_outputs_and_gradients_are_those_of_the_whole_convolution(groups):
    torch.manual_seed(0)
    for kernel, stride, padding, size in SHAPES:
        layer = nn.Conv2d(4, 8, kernel, stride, padding, groups=groups).double()
        whole, trimmed = both(layer, torch.randn(2, 4, size, size + 1, dtype=torch.float64))
        assert isinstance(layer, TrimmedConv2d)
        for ours, theirs in zip(trimmed, whole, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_efficientnet_lites_convolutions_which_pad_by_a_layer_of_their_own(kernel, size, stride):
    torch.manual_seed(0)
    for groups, side in itertools.product((1, 4), (224, 225)):  # the padding is made for images of this side
        layer = Conv2dStaticSamePadding(4, 8, kernel, stride, image_size=side, groups=groups).double()
        whole, trimmed = both(layer, torch.randn(2, 4, size, size + 1, dtype=torch.float64))
        assert isinstance(layer, TrimmedConv2d)
        for ours, theirs in zip(trimmed, whole, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 1, 1, 1), (1, 2, 0, 0)),  # ResNet's last block at 32 pixels: the centre alone
        ((2, 3, 2, 1, 1), (1, 3, 0, 0)),  # and the convolution that leads there
        ((2, 7, 1, 3, 3), (2, 5, 1, 1)),  # ConvNeXt on 2 x 2
        ((4, 7, 1, 3, 3), (0, 7, 3, 3)),  # every tap sees a pixel somewhere
        ((32, 7, 2, 3, 3), (0, 7, 3, 3)),
        ((2, 1, 1, 0, 0), (0, 1, 0, 0)),
        ((2, 3, 2, 0, 1), (0, 2, 0, 0)),  # EfficientNet-Lite pads after the map alone
        ((4, 3, 2, 0, 1), (0, 3, 0, 1)),  # and so needs more than a convolution can do by itself
        ((2, 5, 2, 1, 2), (1, 3, 0, 0)),
    ],
)
def test_the_taps_that_see_a_pixel_worked_by_hand(shape, expected):
    assert reach(*shape) == expected


def operations(layer, inputs):
    """The names of what a layer has the device do, forward and backward."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        layer(inputs).sum().backward()
    return {event.key for event in seen.key_averages()}


@pytest.mark.parametrize(
    ("kernel", "size", "fast"),
    [
        (3, 1, True),  # one tap is left
        (2, 2, True),  # no padding, as large as the map
        (1, 4, True),
        (1, 8, False),  # on larger maps oneDNN is as fast
        (3, 4, False),
    ],
)
def test_where_a_kernel_is_one_tap_or_the_map_a_small_map_is_multiplied(kernel, size, fast):
    (layer,) = trim(nn.Sequential(nn.Conv2d(8, 8, kernel, padding=kernel // 2 if kernel % 2 else 0)))
    done = operations(layer, torch.randn(2, 8, size, size, requires_grad=True))
    assert ("aten::convolution_backward" not in done) == fast
    assert ("aten::linear" in done) == fast


@pytest.mark.parametrize(("size", "padded"), [(2, True), (3, False), (8, False)])
def test_a_depthwise_convolution_that_pads_half_its_map_learns_on_a_padded_one(size, padded):
    (layer,) = trim(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8)))
    inputs = torch.randn(2, 8, size, size)
    assert ("aten::constant_pad_nd" in operations(layer, inputs)) == padded
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        layer(inputs)
    assert "aten::constant_pad_nd" not in {event.key for event in seen.key_averages()}


@pytest.mark.parametrize("arch", ["resnet18", "convnext_tiny", "mobilenet_v3_small", "efficientnet_lite0"])
def test_a_network_stays_its_librarys(arch):
    """Same names and numbers in its state, same logits, for images of any size."""
    theirs = models.build(arch, 3, seed=1).eval()
    ours = trim(models.build(arch, 3, seed=0)).eval()
    assert any(isinstance(layer, TrimmedConv2d) for layer in ours.modules())
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for size in (32, 33, 64):
            images = torch.randn(2, 3, size, size)
            torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_at_32_pixels_resnet18_needs_less_arithmetic_and_at_224_the_same():
    def counted(model, size):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(torch.zeros(1, 3, size, size))
        return counter.get_total_flops()

    whole, ours = get_model("resnet18", weights=None), trim(models.build("resnet18", 1000, seed=0))
    assert counted(ours, 32) < 0.85 * counted(whole, 32)
    assert counted(ours, 224) == counted(whole, 224)


def test_other_convolutions_are_left_alone():
    layers = [nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 3, 3, dilation=2), nn.Conv1d(3, 3, 3)]
    trim(nn.Sequential(*layers))
    assert not any(isinstance(layer, TrimmedConv2d) for layer in layers)
