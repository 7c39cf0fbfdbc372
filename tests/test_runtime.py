"""Runtime: the device that is here or a refusal, and what a number depends on."""

from importlib.metadata import version

import numpy as np
import pytest
import torch
from torch import nn

from src import models, runtime
from src.errors import UserError

HERE = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


@pytest.mark.parametrize("name", HERE)
def test_a_device_is_taken_where_it_is_and_refused_where_it_is_not(name):
    if HERE[name]:
        assert runtime.choose_device(name) == torch.device(name)
    else:
        with pytest.raises(UserError, match=rf"device = {name}: not on this machine; allowed here are auto, .*cpu"):
            runtime.choose_device(name)


def test_auto_is_the_fastest_that_is_here():
    assert runtime.choose_device("auto").type == next(name for name in ("cuda", "mps", "cpu") if HERE[name])


def test_placing_a_network_changes_its_layout_and_not_its_numbers():
    model = models.build("mobilenet_v3_small", 3, seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        placed = runtime.place(model, torch.device("cpu"))
        torch.testing.assert_close(placed(images), before)
    layers = [layer for layer in placed.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in layers)


def test_the_environment_names_the_device_the_processor_the_threads_and_every_version():
    (found,) = runtime.environment(torch.device("cpu"))
    assert found["device"] == "cpu"
    assert found["processor"]
    assert found["threads"] == torch.get_num_threads()
    assert found["torch"] == version("torch")
    assert {"python", "torchvision", "numpy", "scikit-learn", "scipy"} <= set(found)


def test_peak_memory_is_in_bytes_and_knows_of_what_was_given_back():
    before = runtime.peak_memory(torch.device("cpu"))
    assert 50e6 < before < 50e9
    np.ones(before, np.uint8)  # as much again, held for a moment
    assert runtime.peak_memory(torch.device("cpu")) > 1.5 * before
