"""Networks: every architecture can be built, restored, given a new head, and counted."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model_weights

from src.core.errors import UserError
from src.nets import models, specialised
from src.settings.settings import Settings
from tests.helpers.skeletons import run, skeleton

# The smallest of each family that takes images of any size.
FAMILIES = (
    *("resnet18", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "efficientnet_b0", "densenet121"),
    *("convnext_tiny", "swin_t", "swin_v2_t", "mnasnet0_5", "shufflenet_v2_x0_5", "googlenet", "efficientnet_lite0"),
)


@pytest.mark.parametrize("arch", FAMILIES)
def test_every_architecture_takes_the_smallest_images_that_the_settings_allow(arch):
    (smallest,) = (bound.ge for bound in Settings.model_fields["image_size"].metadata if hasattr(bound, "ge"))
    assert run(skeleton(arch), smallest) == (2, 7)


@pytest.mark.parametrize("arch", FAMILIES)
def test_images_may_have_any_size_from_32_pixels(arch):
    model = skeleton(arch)
    assert [run(model, size) for size in (33, 50, 64)] == [(2, 7)] * 3


@pytest.mark.parametrize("arch", FAMILIES)
def test_the_state_of_every_architecture_can_be_restored(arch):
    state = {name: torch.zeros_like(tensor, device="cpu") for name, tensor in skeleton(arch, 3).state_dict().items()}
    restored = models.restore(arch, state)
    assert not any(tensor.any() for tensor in restored.state_dict().values())


def test_a_seed_gives_one_network_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (models.build("resnet18", 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_a_new_head_changes_the_head_alone():
    model = models.build("resnet18", 1000, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = models.with_new_head(model, 4, seed=0).state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["fc.weight", "fc.bias"]
    assert after["fc.weight"].shape == (4, 512)


def test_a_new_head_is_drawn_as_pytorch_draws_it_by_its_seed():
    bodies = [models.build("resnet18", 1000, seed=0) for _ in range(3)]
    first, again, other = (models.with_new_head(m, 4, seed).fc for m, seed in zip(bodies, (1, 1, 2), strict=True))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    bound = 512**-0.5
    assert bound * 0.98 < first.weight.abs().max() <= bound
    assert first.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)  # of a uniform distribution


def test_features_are_what_the_head_turns_into_logits():
    model = models.build("mobilenet_v3_small", 5, seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits, head = model(images), model.get_submodule(models.head_name(model))
        features = models.without_head(model)(images)
        torch.testing.assert_close(head(features), logits)
    assert features.shape == (2, 1024)


def test_a_restored_network_gives_the_same_logits():
    model = models.build("resnet18", 3, seed=1).eval()
    images = torch.randn(2, 3, 32, 32)
    restored = models.restore("resnet18", model.state_dict()).eval()
    with torch.no_grad():
        assert torch.equal(restored(images), model(images))


def test_a_restored_network_shares_nothing_with_the_tensors_that_it_came_from():
    state = models.build("resnet18", 3, seed=1).state_dict()
    restored = models.restore("resnet18", state)
    state["conv1.weight"].zero_()
    assert restored.conv1.weight.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.weight": None}, r"no tensor fc\.weight, so this is not a state_dict of resnet18"),
        ({"bn1.bias": None}, r"tensor bn1\.bias is absent, but resnet18 has \(64,\)"),
        (
            {"conv1.weight": torch.zeros(64, 3, 3, 3)},
            r"tensor conv1\.weight is \(64, 3, 3, 3\), but resnet18 has",
        ),
        ({"extra": torch.zeros(2)}, r"tensor extra is \(2,\), but resnet18 has absent"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_with_the_first_tensor_that_differs(change, message):
    state = models.build("resnet18", 3, seed=0).state_dict() | change
    with pytest.raises(UserError, match=message):
        models.restore("resnet18", {name: tensor for name, tensor in state.items() if tensor is not None})


def test_weights_without_the_counter_of_batch_norm_are_restored():
    """torchvision's resnet18-f37072fd and resnet34-b627a593 are from before PyTorch 0.4.1.

    Their 102 and 182 tensors hold no num_batches_tracked (github.com/pytorch/vision/issues/2068 only saved them
    anew, `torch.save(torch.load(path), path)`), and PyTorch's load_state_dict fills it in.
    """
    state = models.build("resnet18", 1000, seed=0).state_dict()
    published = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(published) == 102
    models.restore("resnet18", published)


@pytest.mark.parametrize(("arch", "parameters"), [("resnet18", 11_689_512), ("convnext_tiny", 28_589_128)])
def test_parameters_are_as_many_as_torchvision_says(arch, parameters):
    assert get_model_weights(arch).DEFAULT.meta["num_params"] == parameters
    assert models.parameters(skeleton(arch, outputs=1000)) == parameters


@pytest.mark.parametrize(
    "arch", ["resnet18", "resnet50", "mobilenet_v2", "convnext_tiny", "densenet121", "googlenet", "swin_t", "vit_b_16"]
)
def test_multiply_accumulates_of_one_image_are_as_many_as_torchvision_says(arch):
    stated = get_model_weights(arch).DEFAULT.meta["_ops"]
    assert models.macs(skeleton(arch, outputs=1000), 224) / 1e9 == pytest.approx(stated, abs=0.001)


@pytest.mark.parametrize("arch", ["vit_b_32", "timm/vit_tiny_patch16_224"])
def test_attention_is_counted_on_the_cpu_as_it_is_without_numbers(arch):
    """There PyTorch has kernels of its own for it, which its counter does not know."""
    size = 64
    counted = models.macs(models.build(arch, 10, 0, size), size)
    assert counted == models.macs(skeleton(arch, 10, size), size)
    model = models.build(arch, 10, 0, size)
    with FlopCounterMode(display=False) as counter:
        model.train()(torch.zeros(1, 3, size, size))
    assert counted >= counter.get_total_flops() // 2


def test_at_32_pixels_resnet_18_is_counted_as_publications_do_and_what_is_computed_beside_it():
    model = specialised.place(models.build("resnet18", 10, 0), 32, torch.device("cpu"))
    assert models.macs(model, 32) / 1e6 == pytest.approx(37.0, abs=0.05)
    assert models.executed_macs(model, 32) / 1e6 == pytest.approx(25.78, abs=0.005)
    assert models.macs(model, 32) == models.macs(models.build("resnet18", 10, 0), 32)


@pytest.mark.parametrize("arch", ["convnext_tiny", "efficientnet_lite0", "mobilenet_v3_small"])
def test_whole_kernels_compute_what_trimmed_ones_do(arch):
    model, x = specialised.place(models.build(arch, 4, 0), 40, torch.device("cpu")).eval(), torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        trimmed = model(x)
        with specialised.untrimmed():
            torch.testing.assert_close(model(x), trimmed, atol=1e-4, rtol=1e-4)


def test_multiply_accumulates_of_a_convolution_worked_by_hand():
    """Three colours, 5 filters of 3 x 3, 10 x 10 places: 3 * 9 * 5 * 100; then 500 features to 4 logits: 2,000."""
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(500, 4))
    assert models.macs(model, 10) == 13_500 + 2_000


def test_of_a_frozen_backbone_the_head_alone_is_left_to_learn():
    model = models.freeze_backbone(models.build("resnet18", 7, seed=0))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {"fc.weight", "fc.bias"}
    assert models.parameters(model, trained=True) == 7 * 512 + 7
    assert models.parameters(model) > 11_000_000
    assert models.only_head_learns(model)
    model.layer4.requires_grad_(True)
    assert not models.only_head_learns(model)


def test_the_head_of_a_network_turns_its_features_into_its_logits():
    model = models.build("efficientnet_lite0", 7, seed=0).eval()
    image = torch.randn(1, 3, 32, 32)
    weight, bias = models.head(model)
    with torch.no_grad():
        logits = model(image)
        torch.testing.assert_close(models.without_head(model)(image) @ weight.T + bias, logits)
