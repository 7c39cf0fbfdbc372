"""Runtime: the choice of device and precision, and the description of the machine."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from src.core.errors import UserError
from src.device import runtime
from src.nets import models, specialised

HERE = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


@pytest.mark.parametrize("name", HERE)
def test_a_device_is_taken_where_it_is_and_refused_where_it_is_not(name):
    if HERE[name]:
        assert runtime.choose_device(name) == name
    else:
        with pytest.raises(UserError, match=rf"device = {name}: not on this machine; allowed here are auto, .*cpu"):
            runtime.choose_device(name)


def test_auto_is_the_fastest_that_is_here():
    assert runtime.choose_device("auto") == next(name for name in ("cuda", "mps", "cpu") if HERE[name])


@pytest.mark.parametrize("device", [name for name, here in HERE.items() if here])
def test_auto_takes_bf16_where_the_device_has_it_and_fp32_where_not(device):
    fast = runtime.has_bf16(device) and device != "mps"
    assert runtime.choose_precision("auto", device) == ("bf16" if fast else "fp32")
    assert runtime.choose_precision("fp32", device) == "fp32"


def test_a_process_embeds_in_one_precision_and_trains_in_another():
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    given = []
    for precision in ("fp32", "bf16", "fp32"):
        accelerator = runtime.start("cpu", precision)
        with accelerator.autocast():
            given.append((runtime.machine(accelerator)["precision"], layer(x).dtype))
    assert given == [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp32", torch.float32)]


def test_the_processor_says_whether_it_has_bf16():
    """Linux names the same two instruction sets in another place."""
    flags = Path("/proc/cpuinfo")
    if not flags.exists() or platform.machine() != "x86_64":
        pytest.skip("this processor's instructions are listed nowhere else")
    assert runtime.has_bf16("cpu") == bool({"avx512_bf16", "amx_bf16"} & set(flags.read_text().split()))


def test_the_cpu_has_no_fp16_and_warns_of_a_slow_bf16(capsys):
    with pytest.raises(UserError, match="precision = fp16: not on the CPU; allowed there are auto, fp32, bf16"):
        runtime.choose_precision("fp16", "cpu")
    assert runtime.choose_precision("bf16", "cpu") == "bf16"
    assert ("many times slower" in capsys.readouterr().out) != runtime.has_bf16("cpu")


def test_several_processes_cannot_have_mps(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"device = mps: not for several processes; allowed here are auto, .*cpu"):
        runtime.choose_device("mps")


def test_training_in_bf16_comes_near_to_fp32(tmp_path):
    """Whatever the processor: without the instructions it computes the same, only slower."""
    losses = []
    for precision in ("fp32", "bf16"):
        path = tmp_path / f"{precision}.json"
        command = [sys.executable, "-m", "tests.helpers.train_digits", str(path), "--precision", precision]
        subprocess.run(command, check=True, capture_output=True)
        losses.append([epoch["train_loss"] for epoch in json.loads(path.read_text())])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_placing_a_network_changes_its_layout_and_not_its_numbers():
    model = models.build("mobilenet_v3_small", 3, seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        placed = specialised.place(model, 32, torch.device("cpu"))
        torch.testing.assert_close(placed(images), before)
    layers = [layer for layer in placed.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in layers)


def test_the_environment_names_device_processor_threads_and_versions():
    result = runtime.environment(runtime.start("cpu", "fp32"))
    assert (result["device"], result["precision"], result["processes"]) == ("cpu", "fp32", 1)
    assert result["processor"]
    assert result["threads"] == torch.get_num_threads()
    assert result["torch"] == version("torch")
    assert {"python", "torchvision", "accelerate", "numpy", "scikit-learn", "scipy"} <= set(result)


def test_peak_memory_is_in_bytes_and_knows_of_what_was_given_back():
    before = runtime.peak_memory(torch.device("cpu"))
    assert 50e6 < before < 50e9
    np.ones(before, np.uint8)  # as much again, held for a moment
    assert runtime.peak_memory(torch.device("cpu")) > 1.5 * before


DETERMINISTIC = """
import torch
from src.device import runtime
from src.nets import models, specialised
runtime.choose_deterministic()
assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
device = "cuda" if torch.cuda.is_available() else "cpu"
for arch in ("resnet18", "convnext_tiny", "efficientnet_lite0"):
    gradients = []
    for _ in range(2):
        model = specialised.place(models.build(arch, 3, seed=0), 32, torch.device(device)).train()
        torch.manual_seed(0)
        model(torch.rand(4, 3, 32, 32).to(device)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
"""


def test_the_backbones_need_deterministic_algorithms_only():
    """PyTorch refuses an operation that has none. It is asked in a process of its own, since the choice is global."""
    subprocess.run([sys.executable, "-c", DETERMINISTIC], check=True)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("device", "wanted"), [("cpu", False), ("cuda", True)])
@pytest.mark.parametrize("asked", [False, True])
def test_deterministic_algorithms_are_chosen_on_cuda_where_they_were_asked_for(device, wanted, asked, monkeypatch):
    chosen = []
    monkeypatch.setattr(runtime, "choose_device", lambda _: device)
    monkeypatch.setattr(runtime, "choose_deterministic", lambda: chosen.append(device))
    runtime.start(device, "fp32", deterministic=asked)
    assert bool(chosen) == (wanted and asked)


@pytest.mark.parametrize(("device", "allowed"), [("cpu", True), ("cuda", False)])
def test_convolutions_in_fp32_are_no_tf32_on_cuda(device, allowed, monkeypatch):
    monkeypatch.setattr(runtime, "choose_device", lambda _: device)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    runtime.start(device, "fp32")
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_a_mac_tells_its_processor_by_name(monkeypatch):
    asked = []

    def sysctl(words, **_):
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, "Apple M1 Pro\n")

    monkeypatch.setattr(runtime.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(runtime.subprocess, "run", sysctl)
    assert runtime._processor() == "Apple M1 Pro"
    assert asked == [["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]]


def test_the_version_of_an_optional_library_is_told_where_it_was_imported(monkeypatch):
    import timm

    accelerator = runtime.start("cpu", "fp32")
    assert runtime.machine(accelerator)["timm"] == timm.__version__
    monkeypatch.delitem(sys.modules, "timm")
    assert "timm" not in runtime.machine(accelerator)
