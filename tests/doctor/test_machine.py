"""What the doctor says of versions, device and disk."""

import shutil
from collections import namedtuple

import pytest

from src.doctor import machine
from src.settings.protocols import filled
from src.settings.settings import Settings
from src.storage import paths

TOY = {"dataset": "digits", "device": "cpu", "resnet": {"arch": "resnet18"}, "convnext": {"arch": "efficientnet_lite0"}}
Usage = namedtuple("Usage", ["total", "used", "free"])


def settings(**changes) -> Settings:
    return Settings.model_validate(filled({**TOY, **changes}))


def test_packages_that_are_missing_or_other_than_required_are_faults(tmp_path):
    required = tmp_path / "requirements.txt"
    required.write_text("# comment\ntorch>=2\n\nnumpy>=2.1,<3 # why\nno-such-package>=1\nscipy>=99\n")
    *faults, said = machine.versions(required)
    assert [(found.line.split(";")[0], found.fault) for found in faults] == [
        ("no-such-package none is installed, required is no-such-package>=1", True),
        (faults[1].line.split(";")[0], True),
    ]
    assert faults[1].line.startswith("scipy 1.")
    assert said.line.startswith("python 3.")
    assert "torch 2" in said.line
    assert not said.fault


def test_the_packages_of_this_project_are_those_that_it_requires():
    assert [found for found in machine.versions() if found.fault] == []


@pytest.mark.parametrize(("native", "word"), [(True, "fast"), (False, "slow")])
def test_a_precision_is_fast_where_the_device_has_instructions_for_it(monkeypatch, native, word):
    monkeypatch.setattr(machine.runtime, "has_bf16", lambda _: native)
    where, precision = machine.device(settings(precision="fp32"))
    assert where.line.startswith("cpu, ")
    assert precision.line == f"fp32 of training, which is fast here; bf16 would be {word}"
    _, precision = machine.device(settings(precision="bf16"))
    assert precision.line == f"bf16 of training, which is {word} here"


@pytest.mark.parametrize(("device", "faulty"), [("auto", True), ("cpu", False)])
def test_a_gpu_that_torch_cannot_use_is_a_fault_unless_the_cpu_was_asked_for(monkeypatch, device, faulty):
    monkeypatch.setattr(machine.runtime, "choose_device", lambda _: "cpu")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    where, _ = machine.device(settings(device=device))
    assert where.fault == faulty
    assert ("cannot use the NVIDIA GPU that is here" in where.line) == faulty


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project on a disk of which a test says how much is free."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEP_ROOT", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / ".dvc").mkdir()

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, size))

    return free


def test_a_disk_without_the_room_for_a_run_is_a_fault(project):
    needed = machine.needs(settings())
    project(needed)
    (found,) = machine.disk(settings(), "hardlink")
    assert not found.fault
    project(needed - 1)
    (found,) = machine.disk(settings(), "hardlink")
    assert found.fault
    assert found.line.endswith("make room, or put DVC's cache on another disk: dvc cache dir --local <folder>")
    project(2 * needed - 1)
    assert [found.fault for found in machine.disk(settings(), "copy")] == [True]
    (paths.DATA / "raw").mkdir(parents=True)
    (paths.DATA / "raw" / "train_images.npy").write_bytes(b"12")
    assert [found.fault for found in machine.disk(settings(), "copy")] == [False]


def test_more_seeds_methods_backbones_and_images_need_more_room():
    few = machine.needs(settings(seeds=[0]))
    for more in (
        {"seeds": [0, 1]},
        {"seeds": [0], "finetune": {"methods": ["full", "head"]}},
        {"seeds": [0], "backbones": ["resnet18", "efficientnet_lite0", "resnet18@random"]},
        {"seeds": [0], "dataset": "cifar10"},
        {"seeds": [0], "convnext": {"arch": "efficientnet_lite2"}},
    ):
        assert machine.needs(settings(**more)) > few
    assert machine.needs(settings(seeds=[0], controls=False)) < few
