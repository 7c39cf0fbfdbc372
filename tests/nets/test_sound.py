"""Weights that hold no usable numbers are refused, naming the tensor."""

import math

import pytest
import torch

from src.core.errors import UserError
from src.nets import models, state_dicts, weights
from stages.weights import load_weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return models.build("resnet18", outputs=1000, seed=7).state_dict()


def saved(tmp_path, state) -> str:
    torch.save(state, tmp_path / "w.pth")
    return str(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("conv1.weight", lambda t: t.fill_(math.nan), "holds NaN"),
        ("fc.bias", lambda t: t.index_fill_(0, torch.tensor(3), -math.inf), "holds infinite numbers"),
        ("bn1.running_var", lambda t: t.fill_(-0.5), "holds -0.5; a variance is 0 or more"),
        ("layer1.0.conv1.weight", lambda t: t.int(), "is int32; allowed are floats"),
        ("layer1.0.conv1.weight", lambda t: t.bool(), "is bool; allowed are floats"),
        ("fc.weight", lambda t: t.to(torch.complex64), "is complex64; allowed are floats"),
        ("fc.weight", lambda t: t.to_sparse(), "is sparse"),
        ("fc.weight", lambda t: t.to_sparse_csr(), "is sparse"),
        ("fc.weight", lambda t: t.to("meta"), "is meta, without numbers"),
        ("fc.weight", lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "is quantized"),
    ],
)
def test_a_tensor_without_usable_numbers_is_named(tmp_path, state, name, change, reason):
    path = saved(tmp_path, state | {name: change(state[name].clone())})
    with pytest.raises(UserError, match=rf"^resnet\.weights = w\.pth: tensor {name} {reason}") as error:
        load_weights("resnet.weights = w.pth", "resnet18", path, sha256=None, seed=0)
    assert "\n" not in str(error.value)


def test_weights_of_only_zeros_are_refused_and_one_layer_of_zeros_is_not(state):
    with pytest.raises(UserError, match=r"^tensor conv1\.weight and all others hold only zeros"):
        state_dicts.adopt("resnet18", {name: torch.zeros_like(tensor) for name, tensor in state.items()})
    adopted, _ = state_dicts.adopt("resnet18", state | {"fc.weight": torch.zeros(1000, 512)})
    assert not adopted["fc.weight"].any()


def test_halves_are_floats(state):
    adopted, lines = state_dicts.adopt("resnet18", {name: tensor.half() for name, tensor in state.items()})
    assert lines == []
    assert adopted["conv1.weight"].dtype == torch.float32


@pytest.mark.parametrize("name", [3, ("fc", "weight"), None, "", "fc\nweight", "x" * 5000])
def test_an_odd_name_is_one_short_line(tmp_path, name):
    path = saved(tmp_path, {name: torch.ones(2)})
    with pytest.raises(UserError, match=r"^tensor .*: allowed are names of 1 to 200 printable characters") as error:
        weights.read(tmp_path / path)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 200
