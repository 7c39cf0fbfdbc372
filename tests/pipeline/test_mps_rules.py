"""The whole pipeline keeps the rules of MPS, as far as that shows without such hardware; and a breach would be seen."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from accelerate import Accelerator
from torch import nn

from src.data import sources
from src.device import mps_check, runtime
from src.evaluate import timing
from src.finetune import loop
from src.finetune.batches import Data
from src.finetune.checkpoint import Epoch
from src.nets import inference, models, specialised
from src.settings.protocols import filled
from src.settings.settings import Settings
from tests.conftest import TOY
from tests.helpers import toy_training
from tests.helpers.mps_rules import MPS, OnDevice, RefusedError, has_kernel, pretended
from tests.helpers.toy_training import VIEW
from tests.helpers.toy_training import digits as toy_digits

RUNS = {(loop, "train"): True, (inference, "outputs"): False, (models, "executed_macs"): False}
PIPELINE = {
    name: stage
    for path in ("data/dvc.yaml", "dvc.yaml")
    for name, stage in yaml.safe_load(Path(path).read_text())["stages"].items()
}
STAGES = (
    *("inputs", "download", "weights", "prepare", "tune", "finetune_resnet", "embed_convnext"),
    *("eval_resnet", "eval_convnext"),
    *("embed_resnet", "finetune_convnext", "eval_resnet_frozen", "eval_convnext_finetuned"),
    *("backbones", "compare", "robustness", "report"),
)
# The networks of the experiment. No number of images is one of whole batches: some 40 to train on, 130 and 40 to embed.
SETTINGS = TOY | {
    "device": "mps",
    "prepare": {"val_fraction": 0.2, "per_class": 13},
    "resnet": {"arch": "resnet18", "weights": "random"},
    "convnext": {"arch": "convnext_tiny", "weights": "random"},
    "finetune": {"epochs": 2, "batch_size": 16, "methods": ["lp_ft"]},
    "frozen": {"readouts": ["centroid", "random_head"]},
}


@pytest.fixture
def device(monkeypatch):
    with pretended(monkeypatch, RUNS):
        yield runtime.start("mps", "fp32")


on_mps = pytest.mark.usefixtures("device")


@pytest.fixture(scope="module")
def data() -> Data:
    return toy_digits()


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))


def train(data: Data, model: nn.Module, accelerator: Accelerator, **changes: object) -> list[Epoch]:
    return list(toy_training.train(model, data, accelerator=accelerator, **changes))


def first(split: sources.Split, count: int) -> sources.Split:
    (pixels,) = split.images
    return sources.Split([pixels[:count]], split.shape, split.labels[:count])


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Every stage, in one process, on the pretended device: which layers it ran there, and in which runs."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    for name, value in SETTINGS.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    settings, digits = Settings.model_validate(filled(values)), sources.digits()
    few = {"train": first(digits["train"], 130), "test": first(digits["test"], 40)}
    result = {}
    with pytest.MonkeyPatch.context() as patch:
        listed = Path("dvc.yaml").read_text()  # by which a stage names what it saves in case it is interrupted
        patch.chdir(tmp_path_factory.mktemp("watched"))
        Path("dvc.yaml").write_text(listed)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setattr(sources, "digits", lambda: few)
        patch.setattr(inference, "BATCH", 48)
        with pretended(patch, RUNS) as device:
            patch.setattr(timing, "SECONDS", 0.1)
            patch.setattr(mps_check, "require", lambda *_: None)  # by far the most arithmetic; see test_parity
            for stage in STAGES:
                device.layers, device.runs = 0, []
                module, *words = PIPELINE[stage]["cmd"].removeprefix("python -m ").split()
                importlib.import_module(module).main(settings, *words)
                result[stage] = SimpleNamespace(layers=device.layers, runs=device.runs)
    return SimpleNamespace(stages=result, operations=device.operations)


def test_no_stage_breaks_a_rule_and_those_with_a_network_ran_it_on_the_device(watched):
    ran = {stage for stage, result in watched.stages.items() if result.layers > 0}
    assert ran == {
        *("finetune_resnet", "embed_convnext", "eval_resnet", "eval_convnext"),
        *("finetune_convnext", "embed_resnet", "eval_convnext_finetuned", "eval_resnet_frozen"),
    }


def test_every_training_and_every_set_of_answers_was_watched_as_a_run(watched):
    for stage in ("finetune_resnet", "finetune_convnext"):
        assert watched.stages[stage].runs.count("train") == 2  # the head, then everything
    for stage in ("embed_convnext", "embed_resnet"):
        assert watched.stages[stage].runs.count("outputs") == 2  # training and test images
    for stage in ("eval_resnet", "eval_convnext_finetuned"):
        assert watched.stages[stage].runs.count("outputs") == 2  # test and validation images


def test_backward_passes_and_the_optimizer_were_seen_on_the_device(watched):
    assert {"convolution_backward", "native_batch_norm_backward", "native_layer_norm_backward"} <= watched.operations
    assert {"addcdiv_", "_fused_adam_"} & watched.operations


def test_on_the_pretended_device_a_training_gives_the_numbers_of_the_cpu(data, monkeypatch):
    """By gradient descent: Adam's first steps follow the sign of rounding."""
    model = network()
    expected = train(data, model, runtime.start("cpu", "fp32"), optimizer="sgd")
    with pretended(monkeypatch, RUNS):
        placed = specialised.place(network(), 8, MPS)
        result = train(data, placed, runtime.start("mps", "fp32"), optimizer="sgd")
        state = {name: tensor.cpu() for name, tensor in placed.state_dict().items()}
    for ours, theirs in zip(result, expected, strict=True):
        assert ours.results() == pytest.approx(theirs.results(), rel=1e-4)
    for name, theirs in model.state_dict().items():
        torch.testing.assert_close(state[name], theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "trivialaugment", "mix": "mixup", "balance": "weights", "label_smoothing": 0.1},
        {"policy": "randaugment", "erasing": 0.5, "mix": "cutmix", "balance": "logit_adjustment"},
    ],
)
def test_on_the_pretended_device_batches_are_augmented_as_on_the_cpu(data, monkeypatch, change):
    change |= {"optimizer": "sgd", "epochs": 4}
    expected = train(data, network(), runtime.start("cpu", "fp32"), **change)
    with pretended(monkeypatch, RUNS):
        result = train(data, specialised.place(network(), 8, MPS), runtime.start("mps", "fp32"), **change)
    for ours, theirs in zip(result, expected, strict=True):
        assert ours.results() == pytest.approx(theirs.results(), rel=1e-3)


@on_mps
def test_python_is_told_that_it_is_mps_and_numpy_gets_nothing_off_it():
    assert runtime.choose_device("auto") == "mps"
    assert runtime.start("auto", "auto").device == MPS
    made = (torch.zeros(2, device=MPS), torch.arange(2).to("mps"), torch.tensor([1, 2], device=MPS))
    made += (made[0] + 1, made[0].new_tensor([3.0, 4.0]), torch.ones_like(made[0]))
    assert all(isinstance(tensor, OnDevice) and tensor.device == MPS for tensor in made)
    assert [tensor.cpu().tolist() for tensor in made] == [[0, 0], [0, 1], [1, 2], [1, 1], [3, 4], [1, 1]]
    for ask in (torch.Tensor.numpy, np.asarray):
        with pytest.raises(RefusedError, match="NumPy"):
            ask(made[0])


@on_mps
def test_arithmetic_is_counted_there_as_on_the_cpu():
    model = models.build("convnext_tiny", 10, seed=0)
    assert models.macs(model, 32) == models.macs(model.to(MPS), 32)


@on_mps
def test_weights_that_are_replaced_are_replaced_on_the_device():
    layer = nn.Linear(2, 1, bias=False).to(MPS)
    layer.weight.data = torch.ones(1, 2, device=MPS)
    assert layer(torch.ones(3, 2, device=MPS)).tolist() == [[2], [2], [2]]


@on_mps
@pytest.mark.parametrize(
    "breach",
    [
        lambda: torch.from_numpy(np.zeros(3)).to(MPS),
        lambda: torch.zeros(3, dtype=torch.float64, device=MPS),
        lambda: torch.zeros(3, device=MPS).double(),
        lambda: torch.tensor(np.zeros(3), device=MPS),
        lambda: nn.Conv2d(3, 4, 3).double().to(MPS),
        lambda: torch.zeros(3, device=MPS).sum(dtype=torch.float64),
    ],
)
def test_float64_is_refused_however_it_comes_there(breach):
    with pytest.raises(RefusedError, match="float64 does not exist"):
        breach()


@on_mps
def test_float64_stays_allowed_on_the_cpu():
    assert nn.Conv2d(3, 4, 3).double()(torch.zeros(1, 3, 4, 4).double()).dtype == torch.float64


class Float64Backward(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x * 2

    @staticmethod
    def backward(_, gradient):
        return (gradient.double() * 2).float()


@on_mps
def test_float64_is_refused_in_a_backward_pass():
    x = torch.ones(3, device=MPS).requires_grad_()
    y = Float64Backward.apply(x).sum()
    with pytest.raises(RefusedError, match="float64 does not exist"):
        y.backward()


class Float64Step(torch.optim.SGD):
    def step(self, closure=None):
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data -= parameter.grad.double().float()


def test_float64_is_refused_in_the_optimizers_step(data, device, monkeypatch):
    monkeypatch.setattr(loop, "make_optimizer", lambda model, *_: Float64Step(model.parameters(), 0.1))
    with pytest.raises(RefusedError, match="float64 does not exist"):
        train(data, network().to(MPS), device)


def test_a_last_batch_that_is_smaller_is_refused_in_training(data, device, monkeypatch):
    """The loop as it is, fed with a part of the last batch once more."""

    def ragged(*given, **named):
        for inputs, labels in shuffled(*given, **named):
            yield inputs, labels
        yield inputs[:6], labels[:6]

    shuffled = loop.shuffled
    monkeypatch.setattr(loop, "shuffled", ragged)
    with pytest.raises(RefusedError, match=r"batches of \(16, 3, 8, 8\) and \(6, 3, 8, 8\)"):
        train(data, network().to(MPS), device)


def test_a_last_batch_that_is_smaller_is_refused_in_inference(data, device, monkeypatch):
    def batches(index, size):
        for start in range(0, len(index), size):
            yield index[start : start + size], len(index[start : start + size])

    ask = {"images": data.images, "index": np.arange(300), "view": VIEW, "accelerator": device}
    inference.predict(network().to(MPS), **ask)
    monkeypatch.setattr(inference, "batches", batches)
    with pytest.raises(RefusedError, match=r"batches of \(256, 3, 8, 8\) and \(44, 3, 8, 8\)"):
        inference.predict(network().to(MPS), **ask)


def test_outputs_that_are_fetched_several_batches_at_a_time_are_those_of_the_cpu(data, monkeypatch):
    """65 images in batches of 8, three batches at a time: what is fetched is full, then what is left over."""
    index = np.random.default_rng(0).permutation(100)[:65]
    ask = {"images": data.images, "index": index, "view": VIEW}
    expected = inference.predict(network(), accelerator=runtime.start("cpu", "fp32"), **ask)
    monkeypatch.setattr(inference, "BATCH", 8)
    monkeypatch.setattr(inference, "FETCH", 3)
    with pretended(monkeypatch, RUNS):
        model, accelerator = network().to(MPS), runtime.start("mps", "fp32")
        blocks = list(inference.outputs(model, accelerator=accelerator, **ask))
    assert [len(block) for block in blocks] == [24, 24, 17]
    np.testing.assert_allclose(np.concatenate(blocks), expected, rtol=1e-4, atol=1e-5)


def test_sets_of_images_may_differ_in_their_batches(data, device):
    model = network().to(MPS)
    for count in (20, 30):
        inference.predict(model, data.images, np.arange(count), view=VIEW, accelerator=device)
    model(torch.zeros(20, 3, 8, 8, device=MPS))
    with pytest.raises(RefusedError, match="batches of"):
        model(torch.zeros(30, 3, 8, 8, device=MPS))


@on_mps
def test_channels_last_is_refused_in_weights_and_images():
    layer = nn.Conv2d(3, 4, 3).to(MPS)
    with pytest.raises(RefusedError, match="images are in channels_last"):
        layer(torch.zeros(2, 8, 8, 3, device=MPS).permute(0, 3, 1, 2))
    layer = nn.Conv2d(5, 4, 3).to(MPS).to(memory_format=torch.channels_last)
    with pytest.raises(RefusedError, match="weight is in channels_last"):
        layer(torch.zeros(2, 5, 8, 8, device=MPS))


@on_mps
@pytest.mark.parametrize(
    "breach",
    [
        lambda layer: layer(torch.zeros(2, 3)),
        lambda layer: layer(torch.zeros(2, 3, device=MPS)) + torch.zeros(2, 4),
        lambda layer: nn.functional.cross_entropy(layer(torch.zeros(2, 3, device=MPS)), torch.tensor([0, 1])),
        lambda layer: layer.weight[torch.tensor([0, 1])],
    ],
)
def test_what_lies_on_the_cpu_is_refused_beside_what_lies_on_the_device(breach):
    with pytest.raises(RefusedError, match="tensors of the CPU and of MPS"):
        breach(nn.Linear(3, 4).to(MPS))


@on_mps
def test_the_cpus_random_generator_is_refused():
    with pytest.raises(RefusedError, match="random generator of the CPU"):
        torch.rand(3, device=MPS, generator=torch.Generator())


@on_mps
@pytest.mark.parametrize(
    "breach",
    [
        lambda: torch.zeros(3).to(MPS, non_blocking=True),
        lambda: torch.zeros(3, device=MPS).to("cpu", non_blocking=True),
        lambda: torch.zeros(3, device=MPS).copy_(torch.zeros(3), non_blocking=True),
    ],
)
def test_a_copy_that_nobody_waits_for_is_refused(breach):
    with pytest.raises(RefusedError, match="does not wait for a copy"):
        breach()


@on_mps
def test_operations_without_a_kernel_there_are_refused():
    with pytest.raises(RefusedError, match="linalg_eig has no kernel on MPS"):
        torch.linalg.eig(torch.eye(3, device=MPS))


@pytest.mark.parametrize("name", ["convolution", "add.Tensor", "_upsample_bilinear2d_aa", "linear", "_fused_adam_"])
def test_operations_with_a_kernel_of_any_kind_are_known(name):
    assert has_kernel(name)
