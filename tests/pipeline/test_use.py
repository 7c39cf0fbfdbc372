"""A finished experiment answers one's own photos and is exported, by the commands that a user types."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from src.export.programs import PACKAGES


@pytest.fixture(scope="module")
def clone(smallest, copy_of):
    clone = copy_of(smallest)
    raw = np.load(clone.folder / "data/raw/test_images.npy")
    index = np.load(clone.folder / "data/predictions/resnet/seed0/full.npz")["index"]
    (clone.folder / "photos").mkdir()
    for number in range(3):
        Image.fromarray(raw[index[number]]).save(clone.folder / "photos" / f"{number}.png")
    return clone


@pytest.mark.parametrize(("arm", "cell"), [("resnet.full", "resnet"), ("convnext.linear", "convnext")])
def test_photos_get_the_answers_of_the_experiment(clone, arm, cell):
    out = clone.module("src.predict", "photos", "--arm", arm)
    logits = np.load(clone.folder / f"data/predictions/{cell}/seed0/{arm.split('.')[1]}.npz")["logits"]
    classes = clone.json("data/subset/classes.json")
    for number in range(3):
        assert f"photos/{number}.png  {classes[logits[number].argmax()]} (" in out
    assert "plots/predict.html: open it in a browser" in out
    assert (clone.folder / "plots/predict.html").exists()


@pytest.mark.skipif(any(find_spec(name) is None for name in PACKAGES), reason="no ONNX")
def test_an_export_is_what_the_card_says_and_git_leaves_it_alone(clone):
    out = clone.module("src.export", "--arm", "convnext.linear")
    tested = len(np.load(clone.folder / "data/predictions/convnext/seed0/linear.npz")["labels"])
    for name in ("model.safetensors", "model.pt2", "model.onnx, by ONNX Runtime"):
        assert f"{name}: {tested} test images, largest difference" in out
    card = (clone.folder / "exports/convnext.linear/README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert clone.git("status", "--porcelain") == "?? photos/\n"
