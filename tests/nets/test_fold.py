"""Folded batch norms: the same features from fewer layers."""

import pytest
import torch
from torch import Tensor, nn

from src.nets import folding, models, products


def with_statistics(model: nn.Module) -> nn.Module:
    """Batch norms of a network that has seen images: their numbers are no longer 0 and 1."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for numbers in (layer.running_mean, layer.bias.data):
                numbers.normal_()
            for numbers in (layer.running_var, layer.weight.data):
                numbers.uniform_(0.5, 2)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


# The smallest of each family of torchvision's, and EfficientNet-Lite; how many of its normalisations must stay, since
# they come before a convolution.
FAMILIES = {
    **dict.fromkeys(("resnet18", "resnext50_32x4d", "regnet_y_400mf", "mobilenet_v2", "mobilenet_v3_small"), 0),
    **dict.fromkeys(("efficientnet_b0", "efficientnet_v2_s", "mnasnet0_5", "shufflenet_v2_x0_5"), 0),
    **dict.fromkeys(("googlenet", "convnext_tiny", "swin_t", "efficientnet_lite0", "timm/resnet18"), 0),
    "densenet121": 62,
}


@pytest.mark.parametrize("arch", FAMILIES)
def test_folding_keeps_features_and_leaves_no_batch_norm_after_a_convolution(arch):
    model = with_statistics(models.without_head(models.build(arch, 3, seed=0)))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = model(images)
        result = folding.fold(model)(images)
    torch.testing.assert_close(result, features, rtol=1e-4, atol=1e-4 * float(features.abs().max()))
    assert norms(model) == FAMILIES[arch]


def gelus(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.GELU) for layer in model.modules())


@pytest.mark.parametrize(("arch", "blocks"), [("convnext_tiny", 18), ("vit_b_32", 12), ("swin_t", 12)])
def test_a_gelu_is_computed_with_the_linear_layer_before_it(arch, blocks):
    torch.manual_seed(0)
    model = models.without_head(models.build(arch, 3, seed=0, image_size=64)).eval()
    for name, weight in model.named_parameters():
        if name.endswith("layer_scale"):
            weight.data.fill_(0.5)  # at first it is so small that no block changes anything
    images = torch.randn(2, 3, 64, 64)
    assert gelus(model) == blocks
    with torch.inference_mode():
        features = model(images)
        torch.testing.assert_close(folding.fold(model)(images), features, rtol=1e-4, atol=1e-4)
    assert gelus(model) == 0
    assert sum(isinstance(layer, products.LinearGELU) for layer in model.modules()) == blocks


def test_a_gelu_of_another_kind_or_place_stays():
    approximated = nn.Sequential(nn.Linear(3, 3), nn.GELU("tanh"))
    apart = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.GELU())
    for model in (approximated, apart, nn.ModuleList([nn.Linear(3, 3), nn.GELU()])):
        assert gelus(folding.fold(model)) == 1


class Shared(nn.Module):
    """What its convolution puts out is read by more than the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        result = self.conv(images)
        return result + self.norm(result)


class Standardised(nn.Conv2d):
    """Its weights are computed anew for every batch, as those of timm's networks that standardise weights."""

    def forward(self, images: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean((1, 2, 3), True)) / self.weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(images, weight, self.bias)


class Twice(nn.Module):
    """Its convolution and its normalisation are called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(self.norm(self.conv(images))))


class Deciding(nn.Module):
    """What it does depends on its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images if images.mean() > 0 else -images))


@pytest.mark.parametrize(
    "model",
    [
        Shared(),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
        nn.BatchNorm2d(3),
        Twice(),
        Deciding(),
        nn.Sequential(Standardised(3, 4, 3), nn.BatchNorm2d(4)),
    ],
)
def test_a_normalisation_of_anything_else_stays(model):
    model, images = with_statistics(nn.Sequential(model)), torch.randn(2, 3, 8, 8)
    before = model(images)
    torch.testing.assert_close(folding.fold(model)(images), before)
    assert norms(model) == 1
