"""An arm from its images on answers as it did where it was evaluated, as numbers and as a layer with a gradient."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from src import arms
from src.nets import inference, models, preprocess
from src.readouts import fit
from src.readouts.base import Features
from src.storage import files


def features(classes: int, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, 6)) * 3
    parts = []
    for count in (20, 8):
        labels = np.arange(classes).repeat(count)
        parts += [(centres[labels] + rng.normal(size=(len(labels), 6))).astype(np.float32), labels]
    return Features(*parts)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["linear", "random_head"])
def test_an_affine_head_is_the_readout_that_left_it(name, classes, tmp_path):
    result = features(classes)
    fitted = fit.fit(name, result, rng=np.random.default_rng(1), configurations=5)
    files.write_arrays(tmp_path / "head.npz", **fitted.affine)
    head = arms.affine(files.read_arrays(tmp_path / "head.npz"), torch.device("cpu"))
    expected = fitted.logits(result.val)
    np.testing.assert_allclose(head.logits(result.val), expected, atol=1e-4)
    np.testing.assert_allclose(head.layer(torch.from_numpy(result.val)).numpy(), expected, atol=1e-4)
    assert head.logits(result.val).shape == (len(result.val), classes)


@pytest.mark.parametrize("name", ["knn", "centroid"])
def test_what_is_no_affine_map_leaves_no_weights(name):
    assert fit.fit(name, features(3), rng=np.random.default_rng(0), configurations=5).affine == {}


def test_a_fine_tuned_network_is_divided_at_its_last_layer_and_answers_the_same():
    model = models.build("efficientnet_lite0", 3, seed=0).eval()
    about = {"arch": "efficientnet_lite0", "weights": "random", "image_size": 32, "normalisation": "weights"}
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    view = preprocess.view("efficientnet_lite0", 32)
    how = {"view": view, "accelerator": Accelerator(cpu=True)}
    with torch.no_grad():
        expected = model(preprocess.to_input(torch.from_numpy(pixels), view)).numpy()
    network = arms.finetuned("resnet.full", model.state_dict(), about, torch.device("cpu"))
    result = inference.predict(network.backbone, pixels, np.arange(5), **how)
    (head,) = network.heads.values()
    np.testing.assert_allclose(head.logits(result), expected, atol=1e-4)
    assert list(network.heads) == ["resnet.full"]
    assert not any(parameter.requires_grad for parameter in network.backbone.parameters())
