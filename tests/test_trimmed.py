"""Trimmed convolutions: the same outputs and gradients as whole ones, at less arithmetic."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from src import models
from src.trimmed import TrimmedConv2d, reach, trim

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


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 1, 1), (1, 2, 0)),  # ResNet's last block at 32 pixels: the centre alone
        ((2, 3, 2, 1), (1, 3, 0)),  # and the convolution that leads there
        ((2, 7, 1, 3), (2, 5, 1)),  # ConvNeXt on 2 x 2
        ((4, 7, 1, 3), (0, 7, 3)),  # every tap sees a pixel somewhere
        ((32, 7, 2, 3), (0, 7, 3)),
        ((2, 1, 1, 0), (0, 1, 0)),
    ],
)
def test_the_taps_that_see_a_pixel_worked_by_hand(shape, expected):
    assert reach(*shape) == expected


@pytest.mark.parametrize("arch", ["resnet18", "convnext_tiny", "mobilenet_v3_small"])
def test_a_network_stays_torchvisions(arch):
    """Same names and numbers in its state, same logits, for images of any size."""
    theirs = get_model(arch, weights=None, num_classes=3).eval()
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
