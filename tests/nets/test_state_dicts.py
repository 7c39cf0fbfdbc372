"""State_dicts as self-supervised methods save them arrive in the network as they were, or are refused by a name."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from src import embed
from src.core.errors import UserError
from src.core.records import Interval
from src.evaluate import frozen, timing
from src.finetune import methods
from src.nets import models, state_dicts, weights
from src.readouts.config import Frozen
from src.storage.features import read_features
from src.storage.resume import StateFile
from stages.weights import load_weights

SHARED = Path(__file__).parents[2].parent / "shared" / "weights" / "resnet18-imagenet.safetensors"


@pytest.fixture(scope="module")
def whole() -> dict[str, Tensor]:
    """A ResNet-18 whose every tensor differs from what a new one holds."""
    state = models.build("resnet18", outputs=1000, seed=7).state_dict()
    return {name: tensor + 1 for name, tensor in state.items()}


@pytest.fixture(scope="module")
def bare(whole) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in whole.items() if not name.startswith("fc.")}


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def load(path: Path) -> dict[str, Tensor]:
    return load_weights(f"resnet.weights = {path}", "resnet18", str(path), sha256=None, seed=0)


PREFIXES = (
    *("", "module.", "backbone.", "encoder.", "model.", "base_model.", "module.encoder_q.", "module.base_encoder."),
    *("module.backbone.", "model.encoder.module.", "_orig_mod.", "momentum_encoder."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_backbone_without_a_head_is_taken_under_any_prefix(tmp_path, capsys, bare, prefix):
    path = tmp_path / "w.pth"
    torch.save(under(prefix, bare), path)
    assert equal(load(path), bare)
    told = f"resnet.weights = {path}: there is no head fc.weight, so the read-out zero_shot will be left out\n"
    assert capsys.readouterr().out == told


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_a_head_under_the_same_prefix_is_kept_without_a_word(tmp_path, capsys, whole, prefix):
    torch.save(under(prefix, whole), tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth"), whole)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("entry", state_dicts.ENTRIES)
def test_what_surrounds_a_state_dict_is_passed_by(tmp_path, bare, entry):
    about = {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}, "args": Namespace(arch="resnet18")}
    torch.save(about | {entry: {"state_dict": under("module.", bare)}, "student": {}}, tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth"), bare)


def test_of_moco_the_trained_encoder_is_taken_and_what_stands_beside_is_counted(tmp_path, capsys, bare):
    """As facebookresearch/moco saves it; safetensors sorts the names, so that encoder_k comes first."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in bare.items()}
    projection = {"fc.0.weight": torch.ones(512, 512), "fc.2.weight": torch.ones(128, 512)}
    state = under("module.encoder_k.", zeros | projection) | under("module.encoder_q.", bare | projection)
    state |= {"module.queue": torch.zeros(128, 64), "module.queue_ptr": torch.zeros(1)}
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "w.safetensors")
    assert equal(load(tmp_path / "w.safetensors"), bare)
    left_out = len(bare) + 2 * 2 + 2
    told = capsys.readouterr().out
    assert f": {left_out} tensors beside the backbone are left out, module.encoder_k." in told
    assert "there is no head fc.weight" in told


@pytest.mark.parametrize(
    ("prefix", "beside"),
    [
        ("module.", ["module.projection_head.0.weight", "module.prototypes.weight"]),  # SwAV
        ("module.backbone.", ["module.projector.0.weight", "module.bn.running_mean"]),  # Barlow Twins
        ("module.encoder.", ["module.encoder.fc.0.weight", "module.predictor.0.weight"]),  # SimSiam
        ("backbone.", ["backbone.fc.0.weight", "backbone.fc.2.bias"]),  # SimCLR
        ("backbone.", ["head.mlp.0.weight", "head.last_layer.weight_v"]),  # DINO's teacher
    ],
)
def test_projection_heads_are_left_out_and_said(tmp_path, capsys, bare, prefix, beside):
    torch.save(under(prefix, bare) | {name: torch.ones(4) for name in beside}, tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth"), bare)
    assert ": 2 tensors beside the backbone are left out, " in capsys.readouterr().out


@pytest.mark.parametrize("foreign", ["text.conv1.weight", "module.text.conv1.weight", "module.layer5.0.conv1.weight"])
def test_a_foreign_tensor_is_named_in_one_line(tmp_path, bare, foreign):
    torch.save(under("module.", bare) | {foreign: torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        load(tmp_path / "w.pth")
    name = foreign.removeprefix("module.")
    assert str(error.value) == (
        f"resnet.weights = {tmp_path / 'w.pth'}: tensor {name} is (2,), but resnet18 has absent; allowed is a "
        "state_dict of resnet18"
    )


def test_a_headless_state_of_another_network_is_refused(tmp_path, bare):
    torch.save(under("module.", {**bare, "conv1.weight": torch.ones(64, 3, 3, 3)}), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"tensor conv1\.weight is \(64, 3, 3, 3\), but resnet18 has \(64, 3, 7, 7\)"):
        load(tmp_path / "w.pth")


@pytest.mark.parametrize("arch", ["convnext_tiny", "efficientnet_lite0", "mobilenet_v3_small", "vit_b_32"])
def test_other_architectures_may_come_without_a_head_too(arch):
    state = models.build(arch, 3, seed=1).state_dict()
    head = models.head_name(models.build(arch, 3, seed=1))
    bare = {name: tensor for name, tensor in state.items() if not name.startswith(f"{head}.")}
    adopted, lines = state_dicts.adopt(arch, under("module.", bare))
    assert equal(adopted, bare)
    assert len(lines) == 1


def test_a_checkpoint_without_a_head_stays_refused(bare):
    with pytest.raises(UserError, match=r"no tensor fc\.weight, so this is not a state_dict of resnet18"):
        models.restore("resnet18", bare)


def test_a_backbone_without_a_head_gets_the_new_head_of_any_other(bare, whole):
    origin = {"arch": "resnet18", "weights": "w.pth"}
    ours, other = (methods.new_model((state, origin), 4, 3, 32).state_dict() for state in (bare, whole))
    assert equal(ours, other)


def test_frozen_arms_that_need_no_head_are_there_and_zero_shot_says_why_not(tmp_path, capsys):
    bare = models.build("resnet18", 1, seed=7).state_dict()
    bare = {name: tensor for name, tensor in bare.items() if not name.startswith("fc.")}
    rng = np.random.default_rng(0)
    raw = {split: rng.integers(0, 256, (24, 8, 8, 3), np.uint8) for split in ("train", "test")}
    embedding = embed.embed(
        tmp_path / "features",
        weights=(bare, {"arch": "resnet18", "weights": "w.pth"}),
        parts={split: embed.Part(images, np.arange(24)) for split, images in raw.items()},
        image_size=32,
        normalisation="weights",
        accelerator=Accelerator(cpu=True),
        shared=None,
        state_file=StateFile(),
    )
    features, head = read_features(tmp_path / "features")
    assert head == {}
    labels = np.arange(24) % 2
    subset = {"train_index": np.arange(16), "val_index": np.arange(16, 24), "test_index": np.arange(24)}
    subset |= {"train_labels": labels[:16], "val_labels": labels[16:], "test_labels": labels}
    speed = timing.Speed(Interval(0.1, 0.1, 0.1), None, torch.device("cpu"))
    result = frozen.evaluate(
        tmp_path / "predictions",
        tmp_path / "plots",
        backbone=frozen.FrozenBackbone("resnet", "resnet18", features, head, embedding, speed),
        subsets={0: subset},
        classes=["cat", "dog"],
        config=Frozen(readouts=["linear", "zero_shot", "knn", "centroid", "random_head"]),
        configurations=1,
    )
    assert list(result.arms) == ["linear", "knn", "centroid", "random_head"]
    assert "the weights have no head that was pretrained on ImageNet-1k" in result.unavailable["zero_shot"]
    assert "resnet.zero_shot is left out: " in capsys.readouterr().out


def test_the_hundred_tensors_of_a_resnet_without_head_and_counters_are_loaded():
    if not SHARED.is_file():
        pytest.skip("../shared/weights/resnet18-imagenet.safetensors is not on this machine")
    published = weights.read(SHARED)
    result = load(SHARED)
    assert len(published) == 100
    assert set(result) - set(published) == {name for name in result if name.endswith("num_batches_tracked")}
    assert all(torch.equal(result[name], tensor) for name, tensor in published.items())
