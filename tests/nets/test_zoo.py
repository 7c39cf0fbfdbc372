"""The zoo: every architecture can be trained and embeds, with the features of its library."""

import math
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torchvision.models import get_model

from src import embed
from src.core.errors import UserError
from src.device import runtime
from src.finetune import loop
from src.finetune.batches import Data
from src.finetune.config import Finetune
from src.nets import architectures, models, preprocess, specialised, zoo
from src.nets.crops import Watched
from src.storage import files
from src.storage.resume import StateFile
from tests.helpers.skeletons import numberless, run, skeleton

CPU = runtime.start("cpu", "fp32")
RAW = np.random.default_rng(0).integers(256, size=(8, 32, 32, 3), dtype=np.uint8)
# Which layer is the head, as each library's own code names it; timm's networks are asked for their features.
NETWORKS = {
    **{"resnet18": "fc", "resnet50": "fc", "convnext_tiny": "classifier.2", "convnext_small": "classifier.2"},
    **{"efficientnet_b0": "classifier.1", "efficientnet_v2_s": "classifier.1", "vit_b_16": "heads.head"},
    **{"swin_t": "head", "mobilenet_v3_small": "classifier.3", "mobilenet_v3_large": "classifier.3"},
    **dict.fromkeys(architectures.LITE, "_fc"),
    **{"timm/resnet18.a1_in1k": "fc", "timm/vit_tiny_patch16_224": "head", "timm/convnext_atto": "head.fc"},
}


def pretended(arch: str) -> nn.Module:
    """The library's own network for 32 pixels, with biases and running statistics such as one that has learnt."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if arch.startswith("timm/"):
            model = timm.create_model(arch.removeprefix("timm/"), **({"img_size": 32} if "vit" in arch else {}))
        elif arch in architectures.LITE:
            model = EfficientNet.from_name(arch.replace("_", "-"))
        else:
            model = get_model(arch, weights=None, **({"image_size": 32} if "vit" in arch else {}))
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0  # one batch makes all of its statistics
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.uniform_(-0.1, 0.1)
            model.train()(preprocess.to_input(torch.from_numpy(RAW), preprocess.view(arch, 32)))
    return model.eval()


def features(arch: str, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """What the library's network hands to its head."""
    if arch.startswith("timm/"):
        return model.forward_head(model.forward_features(batch), pre_logits=True)
    seen = []
    model.get_submodule(NETWORKS[arch]).register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    model(batch)
    return seen[0]


@pytest.mark.parametrize("arch", NETWORKS)
def test_features_are_those_of_the_library_and_training_changes_the_network(arch, tmp_path):
    theirs, view = pretended(arch), preprocess.view(arch, 32)
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    with torch.no_grad():
        expected = features(arch, theirs, preprocess.to_input(torch.from_numpy(RAW), view)).numpy()
    assert np.isfinite(expected).all()
    assert expected.std() > 0
    del theirs
    given = {"weights": (state, {"arch": arch, "weights": "file"}), "image_size": 32}
    given |= {"parts": {"train": embed.Part(RAW, np.arange(len(RAW)))}, "shared": None, "state_file": StateFile()}
    embed.embed(tmp_path, **given, normalisation="weights", accelerator=CPU)
    result = np.load(tmp_path / "train.npy")
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert files.read_arrays(tmp_path / "head.npz")["weight"].shape == (1000, expected.shape[1])

    model = specialised.place(models.with_new_head(models.restore(arch, state, 32), 3, seed=0), 32, CPU.device)
    data = Data(RAW, np.arange(2), np.array([0, 1]), Watched(RAW, np.arange(2, 4), np.array([0, 1])))
    config = Finetune(epochs=1, batch_size=2, lr=0.0001, weight_decay=0.0)
    (epoch,) = loop.train(model, data, config, view=view, seed=0, accelerator=CPU)
    assert math.isfinite(epoch.train_loss)
    assert math.isfinite(epoch.val_loss)
    head = models.head_name(model)
    assert head == NETWORKS[arch]
    after = model.state_dict()
    moved = {name for name in after if not name.startswith(head) and not torch.equal(after[name], state[name])}
    assert len(moved) > len(after) / 2


@pytest.mark.parametrize("arch", architectures.names())
def test_every_architecture_ends_in_a_linear_layer_that_can_be_taken_off(arch):
    size = next(size for size in (32, 64, 96, 224) if allowed(arch, size))
    model = skeleton(arch, 7, size)
    head = model.get_submodule(models.head_name(model))
    assert isinstance(head, nn.Linear)
    assert head.out_features == 7
    assert run(models.without_head(model), size) == (2, head.in_features)


def allowed(arch: str, size: int) -> bool:
    try:
        zoo.require_size(arch, size)
    except UserError:
        return False
    return True


def test_no_library_is_imported_that_nobody_asks():
    code = "import sys; from src.nets import zoo; zoo.normalisation('efficientnet_lite4'); "
    code += "zoo.require_size('resnet18', 32); print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("arch", "size", "reason"),
    [
        ("vit_b_16", 40, "vit_b_16 sees patches of 16 pixels; allowed are multiples of 16"),
        ("inception_v3", 74, "inception_v3 is too deep for so small images; allowed are 75 and more"),
        ("alexnet", 32, "alexnet is too deep for so small images; allowed are 63 and more"),
        ("maxvit_t", 64, "maxvit_t divides images into windows; allowed are multiples of 224"),
        ("timm/vit_tiny_patch16_224", 40, "timm/vit_tiny_patch16_224 sees patches of 16 pixels; allowed are multiples"),
        ("timm/halonet_h1", 40, "timm/halonet_h1 cannot take such images (AssertionError); it was made for 256"),
    ],
)
def test_a_size_that_an_architecture_cannot_take_is_refused_with_what_it_can(arch, size, reason):
    with pytest.raises(UserError) as error:
        zoo.require_size(arch, size)
    assert str(error.value).startswith(f"image_size = {size}: {reason}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arch", "size"),
    [("vit_b_16", 48), ("inception_v3", 75), ("alexnet", 63), ("maxvit_t", 448), ("timm/vit_tiny_patch16_224", 48)],
)
def test_sizes_that_are_allowed_can_be_seen(arch, size):
    zoo.require_size(arch, size)
    assert run(skeleton(arch, 7, size), size) == (2, 7)


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ("timm/dla34", "ends in a Conv2d, not in a linear layer to replace"),
        ("timm/deit_tiny_distilled_patch16_224", "has no single classifier (head and head_dist)"),
        ("timm/resnet18.a9_in1k", "is none of timm's; did you mean resnet18."),
    ],
)
def test_what_timm_has_but_nobody_can_use_here_is_refused_by_name(arch, reason):
    with numberless(), pytest.raises(UserError) as error:
        models.build(arch, 7, seed=0, image_size=64)
    assert str(error.value).startswith(f"{arch} {reason}")
    assert "\n" not in str(error.value)
