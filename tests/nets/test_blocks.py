"""A network is cut into its first blocks and the rest, which share its weights and compute what it computes."""

import pytest
import torch
from torch import nn

from src.nets import blocks, models, specialised

CPU = torch.device("cpu")
CUT = ("resnet18", "convnext_tiny", "efficientnet_lite0", "mobilenet_v3_small", "vgg11_bn", "densenet121", "swin_t")


def network(arch: str, size: int = 32) -> nn.Module:
    return specialised.place(models.build(arch, 3, 0, size), size, CPU)


def test_the_blocks_of_a_network_are_in_the_order_of_its_calls_and_the_head_is_none():
    layers = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
    assert blocks.blocks(network("resnet18"), 32) == ["conv1", "bn1", *layers]


def test_what_holds_most_of_the_weights_is_opened():
    names = blocks.blocks(network("vit_b_32"), 32)
    layers = [f"encoder.layers.encoder_layer_{number}" for number in range(12)]
    assert names == ["conv_proj", *layers, "encoder.ln"]


def test_what_holds_the_head_is_opened_and_the_head_is_trained_alone_where_all_blocks_are_frozen():
    model = network("timm/test_convnext")
    assert blocks.blocks(model, 32)[-1] == "head.norm"
    blocks.freeze_first(model, 0.99, 32)
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == {
        "head.fc.weight",
        "head.fc.bias",
    }
    assert blocks.cut(model, 0.99, 32) is not None


@pytest.mark.parametrize(("share", "frozen"), [(0.0, 0), (0.04, 0), (0.3, 3), (0.5, 5), (0.99, 10)])
def test_a_share_of_the_blocks_is_frozen_from_the_first(share, frozen):
    model = network("resnet18").train()
    names = blocks.blocks(model, 32)
    assert blocks.freeze_first(model, share, 32) == [model.get_submodule(name) for name in names[:frozen]]
    for place, name in enumerate(names):
        block = model.get_submodule(name)
        assert block.training == (place >= frozen)
        assert {weight.requires_grad for weight in block.parameters()} == {place >= frozen}
    assert model.fc.weight.requires_grad


def test_what_lies_outside_of_blocks_belongs_to_the_beginning():
    model = network("vit_b_32")
    outside = model.class_token, model.encoder.pos_embedding
    blocks.freeze_first(model, 0.1, 32)
    assert not any(weight.requires_grad for weight in outside)
    blocks.freeze_first(model, 0.0, 32)  # as lp_ft does after the head
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("arch", CUT)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_rest_computes_from_what_the_first_blocks_give_what_the_network_computes(arch, share):
    model = network(arch).eval()
    cut = blocks.cut(model, share, 32)
    assert cut.rest is not None
    images = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        activations = cut.first.eval()(images)
        before = activations.clone()
        torch.testing.assert_close(cut.rest.eval()(activations), model(images))
    assert torch.equal(activations, before)  # they are used again in the next epoch
    assert activations[0].nbytes == cut.bytes


def test_the_rest_shares_the_weights_and_statistics_of_the_network():
    model = network("resnet18")
    blocks.freeze_first(model, 0.5, 32)
    cut = blocks.cut(model, 0.5, 32)
    ours = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    assert {id(tensor) for tensor in (*cut.rest.parameters(), *cut.rest.buffers())} <= ours
    statistics = model.layer4[1].bn2.running_mean.clone()
    cut.rest.train()(torch.randn(4, 128, 4, 4)).sum().backward()
    assert not torch.equal(model.layer4[1].bn2.running_mean, statistics)
    assert model.layer4[1].conv2.weight.grad is not None
    assert model.layer1[0].conv1.weight.grad is None


def test_the_network_itself_is_as_it_was():
    model, images = network("efficientnet_lite0").train(), torch.randn(2, 3, 32, 32)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    blocks.cut(model, 0.5, 32)
    assert all(layer.training for layer in model.modules())
    assert not any(layer._forward_pre_hooks for layer in model.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.eval()(images).shape == (2, 3)


class Crossing(nn.Module):
    """Its last layer reads the image too, past all blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
        self.head = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head((self.body(images) + images).mean((2, 3)))


def test_a_network_that_needs_more_than_these_outputs_is_not_cut():
    assert blocks.cut(Crossing(), 0.5, 8).rest is None
    assert blocks.cut(network("vit_b_32"), 0.5, 32).rest is None  # it reads the number of patches off the images
    assert blocks.cut(Crossing(), 0.0, 8) is None
