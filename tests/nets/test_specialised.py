"""Specialised networks: the outputs and gradients of whole ones, of fewer weights."""

import copy

import pytest
import torch
from efficientnet_lite_pytorch.utils import Conv2dStaticSamePadding
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import get_model
from torchvision.ops import StochasticDepth

from src.finetune.optim import Adam
from src.nets import models, small_maps, specialised
from src.nets.specialised import SpecialisedConv2d, place, reach, specialise

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ARCHS = ["resnet18", "convnext_tiny", "mobilenet_v3_small", "efficientnet_lite0"]


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


def without_chance(model: nn.Module) -> nn.Module:
    """The network in training, with nothing that is drawn."""
    for layer in model.modules():
        if isinstance(layer, nn.Dropout | StochasticDepth):
            layer.p = 0
    return model.train()


def gradients(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The gradient of every parameter."""
    model(images).square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def layers(model: nn.Module) -> dict[str, SpecialisedConv2d]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, SpecialisedConv2d)}


@pytest.mark.parametrize("size", [32, 40, 64])
@pytest.mark.parametrize("arch", ARCHS)
def test_outputs_and_gradients_are_those_of_the_librarys_network(arch, size):
    whole = without_chance(models.build(arch, 3, seed=0)).double()
    if arch == "efficientnet_lite0":
        whole.eval()  # its dropped connections have no layer that could be switched off
    ours = place(copy.deepcopy(whole), size, CPU)
    images = torch.randn(4, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(ours(images), whole(images))
    expected, seen = gradients(whole, images), gradients(ours, images)
    assert layers(ours)
    for name, layer in layers(ours).items():
        kernel = expected.pop(f"{name}.weight")
        torch.testing.assert_close(seen.pop(f"{name}.weight"), kernel[layer.taps])
        kernel[layer.taps] = 0
        assert not kernel.any()  # of what was left out, nothing had a gradient
    torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_efficientnet_lites_convolutions_which_pad_by_a_layer_of_their_own(kernel, size, stride):
    torch.manual_seed(0)
    for groups, side in ((1, 224), (3, 224), (1, 225), (3, 225)):  # the padding is made for images of this side
        whole = Conv2dStaticSamePadding(3, 3, kernel, stride, image_size=side, groups=groups).double()
        ours = specialise(nn.Sequential(copy.deepcopy(whole)), size, CPU)
        images = torch.randn(2, 3, size, size, dtype=torch.float64)
        torch.testing.assert_close(ours(images), whole(images))
        assert layers(ours)


def test_a_training_step_changes_only_the_taps_that_see_a_pixel_and_a_checkpoint_has_all():
    before = get_model("resnet18", weights=None, num_classes=3)
    whole = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    ours = place(before, 32, CPU)
    optimizer = Adam(ours.parameters(), 0.1, fused=True)
    gradients(ours.train(), torch.randn(8, 3, 32, 32))
    optimizer.step()
    after = ours.state_dict()
    get_model("resnet18", weights=None, num_classes=3).load_state_dict(after)
    changed = after["layer4.1.conv2.weight"] != whole["layer4.1.conv2.weight"]
    assert changed[:, :, 1, 1].float().mean() > 0.99
    assert changed.sum() == changed[:, :, 1, 1].sum()
    moments = sum(state["exp_avg"].numel() for state in optimizer.state.values())
    assert moments == sum(parameter.numel() for parameter in ours.parameters()) < 4.3e6 < 11e6 < models.parameters(ours)


def test_a_specialised_network_loads_what_it_saved_and_what_its_library_saved():
    state = models.build("resnet18", 3, seed=1).state_dict()
    ours = place(models.build("resnet18", 3, seed=0), 32, CPU)
    ours.load_state_dict(state)
    torch.testing.assert_close(ours.state_dict(), state, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="size mismatch for conv1"):
        ours.load_state_dict(state | {"conv1.weight": torch.zeros(64, 3, 5, 5)})


@pytest.mark.parametrize("arch", ARCHS)
def test_images_of_another_size_are_convolved_with_whole_kernels(arch):
    whole = models.build(arch, 3, seed=0).eval()
    ours = place(copy.deepcopy(whole), 32, CPU)
    with torch.no_grad():
        for size in (33, 64):
            images = torch.randn(2, 3, size, size)
            torch.testing.assert_close(ours(images), whole(images), rtol=1e-4, atol=1e-5)


def test_at_32_pixels_resnet18_needs_less_arithmetic_and_at_224_the_same():
    def ours(size):
        return models.executed_macs(place(models.build("resnet18", 1000, 0), size, CPU), size)

    whole = get_model("resnet18", weights=None)
    assert ours(32) < 0.75 * models.executed_macs(whole, 32)
    assert ours(224) == models.executed_macs(whole, 224)


def test_two_runs_give_the_same_bytes():
    def run():
        ours = place(without_chance(models.build("convnext_tiny", 3, seed=0)), 32, CPU)
        return gradients(ours, torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))

    torch.testing.assert_close(run(), run(), rtol=0, atol=0)


class Casts(TorchDispatchMode):
    """Counts how many numbers of the given tensors are cast to bfloat16."""

    def __init__(self, tensors) -> None:
        super().__init__()
        self.storages, self.numbers = {tensor.untyped_storage().data_ptr() for tensor in tensors}, 0

    def __torch_dispatch__(self, function, _, args=(), kwargs=None):
        to_bf16 = function is torch.ops.aten._to_copy.default and (kwargs or {}).get("dtype") == torch.bfloat16
        if to_bf16 and args[0].untyped_storage().data_ptr() in self.storages:
            self.numbers += args[0].numel()
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("arch", ARCHS)
def test_in_bfloat16_a_step_casts_each_weight_once_and_none_that_sees_no_pixel(arch):
    ours = place(without_chance(models.build(arch, 3, seed=0)), 32, CPU)
    products = [layer for layer in ours.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    weights = [parameter for layer in products for parameter in layer.parameters()]
    with Casts(weights) as casts:
        with torch.autocast("cpu", torch.bfloat16):
            loss = ours(torch.randn(4, 3, 32, 32)).square().sum()
        loss.backward()
    assert 0.9 * sum(weight.numel() for weight in weights) < casts.numbers <= sum(weight.numel() for weight in weights)


def test_other_convolutions_are_left_alone():
    odd = [nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 3, 3, dilation=2), nn.Conv2d(3, 3, 1)]
    shared = nn.Conv2d(3, 3, 3)
    net = specialise(nn.Sequential(odd[0], odd[1], shared, shared), 32, CPU)  # the last is called on two sizes
    assert not layers(net)
    assert type(odd[2]) is nn.Conv2d


def test_on_a_gpu_only_what_is_cut_is_specialised():
    assert not layers(specialise(models.build("resnet18", 3, 0), 224, CUDA))
    cut = layers(specialise(models.build("resnet18", 3, 0), 32, CUDA))
    assert set(cut) == {f"layer4.{block}.conv{conv}" for block in (0, 1) for conv in (1, 2)}


def test_a_setting_leaves_networks_as_their_library_made_them():
    specialised.enable(False)
    try:
        assert not layers(place(models.build("resnet18", 3, 0), 32, CPU))
    finally:
        specialised.enable(True)
    assert layers(place(models.build("resnet18", 3, 0), 32, CPU))


def ways(arch: str, dtype: torch.dtype) -> dict[str, str]:
    """How each convolution trains on the CPU at 32 pixels; plain ones are left out."""
    chosen = {
        name: small_maps.choose(layer.shape, "cpu", dtype, trains=True)
        for name, layer in layers(place(models.build(arch, 3, 0), 32, CPU)).items()
    }
    return {name: way for name, way in chosen.items() if way != "convolution"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_how_each_layer_of_resnet18_is_computed_at_32_pixels(dtype):
    by_taps = {"layer3.0.conv1", "layer3.0.conv2", "layer3.1.conv1", "layer3.1.conv2"}  # the maps of 2 x 2
    products = {f"layer4.{block}.conv{conv}" for block in (0, 1) for conv in (1, 2)}  # those of one pixel
    expected = dict.fromkeys(by_taps, "tap_products") | dict.fromkeys(products, "product")
    strided = {"layer3.0.downsample.0", "layer4.0.downsample.0"}  # these read one pixel of four
    assert ways("resnet18", dtype) == expected | dict.fromkeys(strided, "tap_products")


def test_how_the_depthwise_layers_of_convnext_are_computed_at_32_pixels():
    chosen = ways("convnext_tiny", torch.float32)
    blocks = {
        f"features.{stage}.{block}.block.0" for stage, count in ((1, 3), (3, 3), (5, 9)) for block in range(count)
    }
    assert {name for name, way in chosen.items() if way == "depthwise"} == blocks
    assert {name for name, way in chosen.items() if way == "scaling"} == {f"features.7.{i}.block.0" for i in range(3)}
