"""The check of MPS: wrong kernels are refused whatever the weights, rounding is accepted, and nothing is changed."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.device import mps_check
from src.nets import models, specialised, weights
from tests.helpers.mps_rules import MPS, pretended

SIZE = 32


class FirstImage(nn.Module):
    """Right for a batch's first image, and repeats it."""

    def forward(self, x: Tensor) -> Tensor:
        result = super().forward(x)
        return result[:1].expand_as(result)


class Backward(torch.autograd.Function):
    """Right forward, by `factor` wrong backward."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


class WrongBackward(nn.Module):
    factor = 1.1

    def forward(self, x: Tensor) -> Tensor:
        return Backward.apply(super().forward(x), self.factor)


class NoNumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result = super().forward(x)
        return torch.where(result == result.max(), torch.nan, result)


class OnlyOnMps(nn.Module):
    """As `FirstImage`, there alone."""

    def forward(self, x: Tensor) -> Tensor:
        result = super().forward(x)
        return result[:1].expand_as(result) if x.device.type == "mps" else result


def network(arch: str) -> nn.Module:
    return models.build(arch, 10, seed=0)


def pretrained(arch: str) -> nn.Module:
    return models.restore(arch, weights.read(weights.locate(arch, "imagenet", Path(), Path())))


def depthwise(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]


def broken(model: nn.Module, names: list[str], kind: type[nn.Module]) -> nn.Module:
    """The same network and weights, of which some parts work in another way, as all of one kind do on a device."""
    twin = copy.deepcopy(model)
    for name in names:
        part = twin.get_submodule(name)
        part.__class__ = type(kind.__name__, (kind, type(part)), {})
    return twin


@pytest.mark.parametrize("arch", ["resnet18", "convnext_tiny", "efficientnet_lite0", "swin_t"])
def test_layouts_that_round_otherwise_are_no_difference(arch):
    model = network(arch)
    assert mps_check.difference(copy.deepcopy(model).to(memory_format=torch.channels_last), model, SIZE) is None


@pytest.mark.parametrize(
    "change", [models.freeze_backbone, models.without_head, lambda model: model.requires_grad_(False)]
)
def test_frozen_and_headless_networks_can_be_asked_too(change):
    model = change(network("mobilenet_v3_small"))
    twin = copy.deepcopy(model).to(memory_format=torch.channels_last)
    assert mps_check.difference(twin, model, SIZE) is None
    assert mps_check.difference(broken(model, depthwise(model), FirstImage), model, SIZE)


def test_rounding_is_far_from_what_is_allowed():
    """Of a network whose weights are off by a hundred times what float32 rounds."""
    model = network("resnet18")
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.mul_(1 + 6e-6 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    assert mps_check.difference(twin, model, SIZE) is None


def test_a_network_that_is_wrong_on_one_batch_only_is_accepted(monkeypatch):
    """As where a gradient jumps at the kink of an activation: the other batches decide."""
    model, run, calls = network("mobilenet_v3_small"), mps_check.run, []

    def sometimes_wrong(layer, *rest):
        tensors = run(layer, *rest)
        if layer is twin:
            calls.append(tensors)
            tensors["output"] *= 1 + (len(calls) in wrong)
        return tensors

    monkeypatch.setattr(mps_check, "run", sometimes_wrong)
    twin, wrong = copy.deepcopy(model), {1}
    assert mps_check.difference(twin, model, SIZE) is None
    assert len(calls) == 2
    calls.clear()
    wrong = {1, 2, 3}
    assert mps_check.difference(twin, model, SIZE).part == "the network: its output"


@pytest.mark.parametrize("arch", ["convnext_tiny", "efficientnet_lite0", "mobilenet_v3_small"])
def test_a_depthwise_convolution_that_is_wrong_for_more_than_one_image_is_named(arch):
    model = network(arch)
    name = depthwise(model)[0]
    result = mps_check.difference(broken(model, depthwise(model), FirstImage), model, SIZE)
    assert result.part == f"{name} ({type(model.get_submodule(name)).__name__}): its output"
    assert result.error > 0.5


def test_it_is_named_where_no_image_comes_to_it_alive():
    """At 32 pixels all features of this network are zero, so that its output and gradients show nothing."""
    model = pretrained("efficientnet_lite2")
    twin, images = broken(model, depthwise(model), FirstImage), mps_check.noise((8, 3, SIZE, SIZE), 0)
    with torch.no_grad():
        assert torch.equal(twin.eval()(images), model.eval()(images))
    assert mps_check.difference(twin, model, SIZE).part.startswith(depthwise(model)[0])


@pytest.mark.parametrize("factor", [1.1, 0.9, -1.0, 0.0])
def test_a_backward_pass_that_is_wrong_is_named_by_its_gradient(factor, monkeypatch):
    monkeypatch.setattr(WrongBackward, "factor", factor)
    model = network("resnet18")
    result = mps_check.difference(broken(model, ["layer3.0.conv2"], WrongBackward), model, SIZE)
    assert result.part.startswith("layer3.0.conv2 (Conv2d): its gradient of ")
    assert result.error == pytest.approx(abs(factor - 1), rel=1e-3)


def test_a_backward_pass_is_not_asked_of_what_never_learns():
    model = models.freeze_backbone(network("resnet18"))
    assert mps_check.difference(broken(model, ["layer3.0.conv2"], WrongBackward), model, SIZE) is None


@pytest.mark.parametrize(
    ("arch", "name", "part"),
    [
        ("swin_t", "features.1.1.attn", "features.1.1.attn (ShiftedWindowAttention)"),
        ("resnet18", "layer2.0", "the network"),
    ],
)
def test_what_is_wrong_between_layers_is_seen_in_what_holds_them(arch, name, part):
    """The products of attention, the sums of residual blocks."""
    model = network(arch)
    assert mps_check.difference(broken(model, [name], FirstImage), model, SIZE).part == f"{part}: its output"


def test_a_number_that_is_none_is_refused():
    model = network("resnet18")
    result = mps_check.difference(broken(model, ["layer2.0.conv1"], NoNumber), model, SIZE)
    assert str(result) == "layer2.0.conv1 (Conv2d): its output is not a number where the CPU's is"


def test_a_number_where_the_cpu_has_none_but_zero_is_told_in_few_digits():
    result = mps_check.first_deviation("it", {"output": torch.ones(2)}, {"output": torch.zeros(2)})
    assert str(result) == "it: its output differs from the CPU by more than 1000%, allowed is 1%"


@pytest.mark.parametrize(
    ("ours", "theirs", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0),
        ([3.0, 5.0], [3.0, 4.0], 0.2),
        ([0.0, 0.0], [0.0, 0.0], 0),
        ([1e-32, 0.0], [0.0, 0.0], 0.0071),  # as good as zero
        ([1.0, torch.nan], [1.0, 2.0], torch.inf),
        ([1.0, torch.inf], [1.0, 2.0], torch.inf),
        ([1.0, 7.0], [1.0, torch.inf], 0),  # the reference says nothing
    ],
)
def test_errors_are_relative_to_the_reference(ours, theirs, error):
    assert mps_check.relative_error(torch.tensor(ours), torch.tensor(theirs)) == pytest.approx(error, rel=1e-2)


@pytest.fixture
def result(monkeypatch) -> list[mps_check.Deviation | None]:
    """What was found each time that the device was asked."""
    asked = []
    compare = mps_check.difference
    monkeypatch.setattr(mps_check, "difference", lambda *about: asked.append(compare(*about)) or asked[-1])
    return asked


def test_the_cpu_and_cuda_are_not_asked(result):
    mps_check.require(broken(network("resnet18"), ["conv1"], FirstImage), SIZE)
    assert result == []


def test_a_device_that_is_right_is_asked_and_accepted(monkeypatch, result):
    with pretended(monkeypatch):
        mps_check.require(specialised.place(network("mobilenet_v3_small"), SIZE, MPS), SIZE)
    assert result == [None]


def test_a_device_that_is_wrong_is_refused_in_one_line(monkeypatch):
    with pretended(monkeypatch):
        model = network("mobilenet_v3_small")
        model = specialised.place(broken(model, depthwise(model), OnlyOnMps), SIZE, MPS)
        with pytest.raises(
            UserError,
            match=r"^device = mps: features\.1\.block\.0\.0 \(OnlyOnMps\): its output differs from the CPU by \d+\.\d%,"
            r" allowed is 1%; use device = cpu, or another version of PyTorch$",
        ):
            mps_check.require(model, SIZE)


def test_larger_images_are_checked_at_a_size_that_the_cpu_can_do(monkeypatch):
    sizes = []
    monkeypatch.setattr(mps_check, "difference", lambda *asked: sizes.append(asked[-1]))
    with pretended(monkeypatch):
        for size in (32, 2048):
            mps_check.require(specialised.place(network("mobilenet_v3_small"), size, MPS), size)
    assert sizes == [32, 224]


def test_nothing_is_changed_or_left_behind(monkeypatch):
    """Weights, gradients, modes, what learns, running statistics, hooks, and everyone's random generator."""
    with pretended(monkeypatch):
        model = models.freeze_backbone(network("mobilenet_v3_small")).train()
        model.features[3].eval()
        model = specialised.place(model, SIZE, MPS)
        model.classifier[3].weight.grad = torch.ones_like(model.classifier[3].weight)
        before = state(model)
        mps_check.require(model, SIZE)
        for ours, theirs in zip(state(model), before, strict=True):
            assert ours == theirs


def state(model: nn.Module) -> tuple[object, ...]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return (
        [(name, id(tensor), tensor.detach().cpu().numpy().tobytes()) for name, tensor in tensors],
        [(name, weight.requires_grad, weight.grad is None) for name, weight in model.named_parameters()],
        [(name, layer.training, len(layer._forward_hooks)) for name, layer in model.named_modules()],
        model.classifier[3].weight.grad.cpu().tolist(),
        torch.get_rng_state().tolist(),
    )
