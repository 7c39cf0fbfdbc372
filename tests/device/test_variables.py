"""Variables that launchers leave in the environment: none changes a training."""

import os

import psutil
import pytest
import torch

from src.core.errors import UserError
from src.device import runtime, variables

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
KEPT = {"PYTEST_CURRENT_TEST"}


@pytest.fixture
def environment(monkeypatch):
    """An environment of the test's own, without variables of launchers."""
    kept = {"PYTEST_CURRENT_TEST": ""}  # pytest writes it itself
    monkeypatch.setattr(os, "environ", kept)
    return kept


@pytest.fixture
def torchrun(monkeypatch):
    """As if torchrun had started this process."""
    parent = psutil.Process()
    monkeypatch.setattr(parent, "cmdline", lambda: ["python", "/env/bin/torchrun", "-m", "stages.finetune"])
    monkeypatch.setattr(psutil.Process, "parents", lambda _: [parent])


@pytest.mark.parametrize(
    "name_and_value",
    [
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=8",
        "ACCELERATE_MIXED_PRECISION=nonsense",
        "ACCELERATE_DYNAMO_BACKEND=EAGER",
        "ACCELERATE_USE_DEEPSPEED=true",
        "ACCELERATE_USE_FSDP=true",
        "ACCELERATE_USE_MEGATRON_LM=true",
        "ACCELERATE_USE_PARALLELISM_CONFIG=true",
        "ACCELERATE_DEBUG_MODE=perhaps",
        "ACCELERATE_TORCH_DEVICE=meta",
        "FSDP_VERSION=2",
        "FORK_LAUNCHED=1",
        "LOCAL_RANK=0",
        "WORLD_SIZE=2",
        "WORLD_SIZE=many",
        "PMI_SIZE=1",
        "DVCLIVE_RESUME=1",
    ],
)
def test_a_variable_of_another_launcher_changes_nothing_and_is_named(monkeypatch, capsys, name_and_value):
    name, value = name_and_value.split("=")
    monkeypatch.setenv(name, value)
    runtime.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = runtime.start("cpu", "fp32")
    assert (accelerator.num_processes, accelerator.device, accelerator.mixed_precision) == (
        1,
        torch.device("cpu"),
        "no",
    )
    assert accelerator.gradient_accumulation_steps == 1
    assert (accelerator.distributed_type, accelerator.state.dynamo_plugin.backend) == ("NO", "NO")
    assert not accelerator.state.debug
    assert name not in os.environ
    assert name in capsys.readouterr().out


@pytest.mark.usefixtures("torchrun")
def test_torchrun_keeps_its_variables_and_is_believed_rather_than_mpi(environment, capsys):
    environment |= TORCHRUN | {"ACCELERATE_USE_CPU": "1", "PMI_SIZE": "4", "PMI_RANK": "3"}
    variables.drop_leftovers()
    assert environment.keys() - KEPT == TORCHRUN.keys()
    assert "ACCELERATE_USE_CPU, PMI_RANK, PMI_SIZE" in capsys.readouterr().out


def test_all_variables_of_torchrun_without_it_are_dropped_where_they_speak_of_one_process_and_refused_else(
    environment, capsys
):
    environment |= TORCHRUN | {"WORLD_SIZE": "1"}
    variables.drop_leftovers()
    assert environment.keys() == KEPT
    assert "LOCAL_RANK, MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE" in capsys.readouterr().out
    environment |= TORCHRUN
    with pytest.raises(
        UserError, match=r"^WORLD_SIZE = 2 in the environment, but torchrun did not .*; unset RANK WORLD"
    ):
        variables.drop_leftovers()
    environment |= {"WORLD_SIZE": "1", "PMI_SIZE": "2"}
    with pytest.raises(UserError, match=r"^PMI_SIZE = 2"):
        variables.drop_leftovers()


def test_what_chooses_instructions_is_a_part_of_the_machine(monkeypatch):
    for name in variables.INSTRUCTIONS:  # accelerate sets one where it finds a device of MPS, or a pretended one
        monkeypatch.delenv(name, raising=False)
    accelerator = runtime.start("cpu", "fp32")
    before = runtime.machine(accelerator)
    assert not set(variables.INSTRUCTIONS) & before.keys()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("MKL_CBWR", "")
    assert runtime.machine(accelerator) == before | {"ATEN_CPU_CAPABILITY": "default"}


def test_nothing_is_said_where_nothing_was_left(environment, capsys):
    variables.drop_leftovers()
    assert environment.keys() == KEPT
    assert capsys.readouterr().out == ""


def test_processes_of_mpi_and_numbers_that_are_none_are_refused(environment):
    environment["OMPI_COMM_WORLD_SIZE"] = "2"
    with pytest.raises(UserError, match=r"^OMPI_COMM_WORLD_SIZE = 2 in the environment: .* start them with torchrun"):
        variables.drop_leftovers()
    environment |= TORCHRUN | {"LOCAL_RANK": "first"}  # whoever set it
    with pytest.raises(UserError, match=r"^LOCAL_RANK = first in the environment: allowed is a whole number"):
        variables.drop_leftovers()


@pytest.mark.parametrize(
    ("device", "name"), [(device, name) for device, names in variables.ROUNDING.items() for name in names]
)
def test_a_variable_that_rounds_otherwise_is_refused_on_its_device(environment, device, name):
    environment[name] = "1"
    with pytest.raises(UserError, match=rf"^{name} = 1 in the environment replaces .* on {device}; unset it$"):
        variables.require_rounding(device)
    for other in variables.ROUNDING.keys() - {device}:
        variables.require_rounding(other)


def test_a_training_starts_only_with_the_precision_of_the_settings(monkeypatch):
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    with pytest.raises(UserError, match="ONEDNN_DEFAULT_FPMATH_MODE = BF16"):
        runtime.start("cpu", "fp32")
