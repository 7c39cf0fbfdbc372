"""Several processes, started by `torchrun`, give the results of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from src.core.errors import UserError
from src.device import runtime
from src.storage.files import read_tensors

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2")


class Process:
    """What `sharding` asks of an accelerator, as one of several processes."""

    device = torch.device("cpu")

    def __init__(self, index: int, of: int) -> None:
        self.process_index, self.num_processes = index, of


def run(*command: str, cwd: Path | None = None, fails: bool = False) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def test_parts_of_a_batch_are_consecutive_and_leave_nothing_out():
    parts = [list(range(12))[runtime.own_slice(12, Process(index, of=3))] for index in range(3)]
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_batch_that_cannot_be_shared_evenly_is_refused_by_name():
    with pytest.raises(UserError, match=r"^finetune\.batch_size = 64: 3 processes cannot share it evenly"):
        runtime.own_slice(64, Process(0, of=3))


def test_stochastic_depth_drops_from_the_parts_what_it_drops_from_the_whole():
    images = torch.ones(64, 3, 2, 2)
    torch.manual_seed(0)
    whole = StochasticDepth(0.4, "row").train()(images)
    parts = []
    for index in range(2):
        torch.manual_seed(0)
        (layer,) = runtime.share_layers(nn.Sequential(StochasticDepth(0.4, "row")), Process(index, of=2))
        parts.append(layer.train()(images[:32]))
    assert 0 < (whole == 0).sum() < whole.numel()
    assert torch.equal(torch.cat(parts), whole)


def test_stochastic_depth_does_nothing_to_what_is_evaluated():
    (layer,) = runtime.share_layers(nn.Sequential(StochasticDepth(0.4, "row")), Process(0, of=2))
    images = torch.randn(4, 3, 2, 2)
    assert torch.equal(layer.eval()(images), images)


def test_one_process_has_nothing_to_share():
    model = nn.Sequential(StochasticDepth(0.4, "row"))
    assert type(runtime.share_layers(model, runtime.start("cpu", "fp32"))[0]) is StochasticDepth


def trained(path: Path, *arguments: str, alone: bool) -> list[dict]:
    start = (sys.executable,) if alone else TORCHRUN
    run(*start, "-m", "tests.helpers.train_digits", str(path), *arguments)
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["0", "0.5"])
def test_two_processes_train_a_convnext_as_one_does(tmp_path, freeze):
    """64 images in batches of 64: each of the 20 epochs is one step, on another order and other crops.

    Behind frozen blocks there are no crops, and each process trains on outputs that both have computed.
    """
    arguments = ("--arch", "convnext_tiny", "--images", "64", "--epochs", "20", "--freeze", freeze)
    one, two = (trained(tmp_path / f"{alone}.json", *arguments, alone=alone) for alone in (True, False))
    assert len(one) == len(two) == 20
    assert one[0]["train_loss"] > 2 > one[-1]["train_loss"]
    for ours, theirs in zip(two, one, strict=True):
        assert ours["images"] == theirs["images"] == 64
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-4)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-3)


@pytest.fixture(scope="module")
def prepared(make_clone):
    """A clone with everything that fine-tuning and embedding read."""
    clone = make_clone()
    clone.stages("inputs", "download", "weights", "prepare", "tune")
    return clone


def outputs(folder: Path, *parts: str) -> dict[str, bytes]:
    paths = [path for part in parts for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_two_processes_embed_the_same_bytes_as_one(prepared):
    result = []
    for start in ((sys.executable,), TORCHRUN):
        said = run(*start, "-m", "stages.embed", "convnext", cwd=prepared.folder)
        assert said.count("features each") == 1
        result.append(outputs(prepared.folder, "data/features/convnext"))
        environment = prepared.json("data/results/embed_convnext.json")["environment"]
        assert environment["processes"] == len(result)
    assert {Path(name).name for name in result[0]} == {
        *("train.npy", "train_index.npy", "test.npy", "test_index.npy", "head.npz", "SHA256SUMS")
    }
    assert result[0] == result[1]


def test_two_processes_fine_tune_to_the_same_files_as_one(prepared):
    """With batch normalisation, whose statistics differ: the same images, losses near each other."""
    result, losses = [], []
    for start in ((sys.executable,), TORCHRUN):
        said = run(*start, "-m", "stages.finetune", "resnet", cwd=prepared.folder)
        assert said.count("epoch 2:") == 1
        result.append(outputs(prepared.folder, "data/checkpoints/resnet", "plots/finetune_resnet").keys())
        _, about = read_tensors(prepared.folder / "data/checkpoints/resnet/seed0/full.safetensors")
        losses.append([epoch["train_loss"] for epoch in about["history"]])
    assert result[0] == result[1]
    assert len(result[0]) >= 5
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.3)


def test_processes_that_cannot_share_a_batch_say_so_in_a_line(prepared):
    path = prepared.folder / "params.yaml"
    good = path.read_text()
    path.write_text(good.replace("batch_size: 16", "batch_size: 15"))
    said = run(*TORCHRUN, "-m", "stages.finetune", "resnet", cwd=prepared.folder, fails=True)
    path.write_text(good)
    assert "error: finetune.batch_size = 15: 2 processes cannot share it evenly; try a multiple" in said
