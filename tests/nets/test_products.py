"""Linear layers by oneDNN: the numbers of PyTorch's own."""

import copy

import pytest
import torch
from torch import nn

from src.nets import models, products, specialised

needs_onednn = pytest.mark.skipif(not products.fast(), reason="PyTorch's own products are as fast on this processor")


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 4, 12), (1, 12)])
def test_outputs_and_gradients_are_those_of_a_plain_layer(shape, bias):
    torch.manual_seed(0)
    layer = nn.Linear(12, 7, bias)
    results = []
    for _ in range(2):
        input = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape).requires_grad_()
        output = layer(input)
        results.append([output, *torch.autograd.grad(output.square().sum(), [input, *layer.parameters()])])
        products.use_fast(nn.Sequential(layer))
    assert isinstance(layer, products.FastLinear)
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs)


@needs_onednn
def test_bfloat16_and_float64_are_left_to_pytorch():
    layer, rows = nn.Linear(12, 7), torch.randn(3, 12)
    expected = layer(rows)
    products.use_fast(nn.Sequential(layer))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(rows).dtype == torch.bfloat16
    torch.testing.assert_close(layer.double()(rows.double()).float(), expected)


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 4, 12)])
@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gelu_is_computed_with_the_layer_before_it(shape, learns, dtype, monkeypatch):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 7), nn.GELU()).to(dtype)
    joined = copy.deepcopy(plain[0])
    joined.__class__ = products.LinearGELU
    results, asked = [], []
    linear = products._linear
    monkeypatch.setattr(products, "_linear", lambda *given: asked.append(given[3:]) or linear(*given))
    for model in (plain, joined):
        input = torch.linspace(-3, 3, torch.Size(shape).numel(), dtype=dtype).view(shape).requires_grad_(learns)
        with torch.set_grad_enabled(learns):
            output = model(input)
        results.append([output, *(torch.autograd.grad(output.sum(), input) if learns else ())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (("gelu",) in asked) == (products.fast() and not learns and dtype == torch.float32)


@needs_onednn
def test_a_placed_network_has_them_and_its_arithmetic_is_counted():
    plain = models.build("vit_b_32", 3, 0, 32)
    counted = models.macs(plain, 32)
    placed = specialised.place(plain, 32, torch.device("cpu"))
    assert sum(isinstance(layer, products.FastLinear) for layer in placed.modules()) > 20
    assert models.macs(placed, 32) == counted


def test_intels_processors_keep_mkl(monkeypatch):
    products.fast.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Intel(R) Xeon(R)"})
    assert not products.fast()
    products.fast.cache_clear()
