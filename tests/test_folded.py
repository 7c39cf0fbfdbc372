"""Folded normalisation: the same features from fewer layers."""

import pytest
import torch
from torch import Tensor, nn

from src import folded, models
from src.params import ARCHITECTURES


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


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_features_are_the_same_and_no_batch_norm_is_left(arch):
    model = with_statistics(models.without_head(models.build(arch, 3, seed=0)))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = model(images)
        found = folded.fold(model)(images)
    torch.testing.assert_close(found, features, rtol=1e-4, atol=1e-5 * float(features.abs().max()))
    assert norms(model) == 0


class Shared(nn.Module):
    """What its convolution puts out is read by more than the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        found = self.conv(images)
        return found + self.norm(found)


@pytest.mark.parametrize(
    "model", [Shared(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), nn.BatchNorm2d(3)]
)
def test_a_normalisation_of_anything_else_stays(model):
    model, images = with_statistics(nn.Sequential(model)), torch.randn(2, 3, 8, 8)
    before = model(images)
    torch.testing.assert_close(folded.fold(model)(images), before)
    assert norms(model) == 1
