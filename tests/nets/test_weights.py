"""Weights: located, checked against hash and architecture, and read without running code."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from src.core.errors import UserError
from src.nets import models, weights
from stages.weights import load_weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A ResNet-18 whose every tensor differs from what a new one holds."""
    state = models.build("resnet18", outputs=1000, seed=7).state_dict()
    return {name: tensor + 1 for name, tensor in state.items()}


@pytest.fixture
def published(tmp_path, state) -> Path:
    """The file as torchvision publishes it: named after its own SHA-256."""
    path = tmp_path / "published" / "resnet18.pth"
    path.parent.mkdir()
    torch.save(state, path)
    return path.rename(path.with_stem(f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"))


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_published_weights_arrive_in_the_network_as_they_were_saved(tmp_path, published, state):
    path = weights.locate("resnet18", published.as_uri(), Path("unused"), tmp_path)
    assert path == tmp_path / published.name
    assert equal(models.restore("resnet18", weights.read(path)).state_dict(), state)


def test_weights_that_are_not_those_of_their_name_are_refused(tmp_path, published):
    changed = published.rename(published.with_name("resnet18-00000000.pth"))
    with pytest.raises(UserError, match="nothing was kept"):
        weights.locate("resnet18", changed.as_uri(), Path("unused"), tmp_path)
    assert not (tmp_path / changed.name).exists()


def test_an_address_without_a_hash_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(UserError, match="or nothing can be checked"):
        weights.locate("resnet18", "https://example.org/resnet18.pth", Path("unused"), tmp_path)


def test_a_file_is_used_where_it_is(tmp_path, published):
    assert weights.locate("resnet18", str(published), published, tmp_path) == published


def test_chance_needs_no_file(tmp_path):
    assert weights.locate("resnet18", "random", Path("random"), tmp_path) is None


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_both_formats_are_read(tmp_path, name):
    tensors = {"fc.weight": torch.randn(2, 3), "fc.bias": torch.randn(2)}
    (save_file if name.endswith(".safetensors") else torch.save)(tensors, tmp_path / name)
    assert equal(weights.read(tmp_path / name), tensors)


class Thief:
    """What happens when it is unpickled must never happen."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path):
    torch.save({"fc.weight": torch.zeros(2), "more": Thief(tmp_path / "trace")}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth cannot be read as a state_dict \(UnpicklingError\); save one with"):
        weights.read(tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Thief(tmp_path / "trace"), protocol=2))
    with pytest.raises(UserError, match=r"plain\.pth cannot be read as a state_dict"):
        weights.read(tmp_path / "plain.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", bytes(100)])
def test_what_is_no_file_of_weights_is_refused_in_one_line(tmp_path, suffix, content):
    (tmp_path / f"w.{suffix}").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a state_dict") as error:
        weights.read(tmp_path / f"w.{suffix}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {"epoch": 3, "state_dict": {}}])
def test_a_file_with_more_than_a_state_dict_is_refused_with_what_to_save(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds no state_dict; save model\.state_dict\(\)"):
        weights.read(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("setting", "is_file"),
    [
        ("imagenet", False),
        ("IMAGENET1K_V2", False),
        ("random", False),
        ("https://example.org/w-00000000.pth", False),
        ("file:///home/me/w-00000000.pth", False),
        ("weights/mine.pth", True),
        ("~/mine.safetensors", True),
        ("imagenet.pth", True),
    ],
)
def test_a_setting_is_a_path_unless_it_is_a_word_or_an_address(setting, is_file):
    assert weights.is_file(setting) == is_file


def test_only_files_have_a_fingerprint_which_is_their_hash(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    assert (
        weights.fingerprint("resnet.weights = w.pth", "resnet18", "w.pth", tmp_path / "w.pth")
        == hashlib.sha256(b"weights").hexdigest()
    )
    assert weights.fingerprint("resnet.weights = imagenet", "resnet18", "imagenet", None) is None


@pytest.mark.parametrize("name", ["absent.pth", "imagenett", "."])
def test_a_file_that_is_not_there_is_refused_with_what_is_allowed(tmp_path, name):
    with pytest.raises(
        UserError,
        match=r"resnet.weights = .*: there is no file .*; allowed are imagenet, random, a file, an address",
    ):
        weights.fingerprint(f"resnet.weights = {name}", "resnet18", name, tmp_path / name)


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        (
            "resnet50",
            "did you mean IMAGENET1K_V2? of resnet50 torchvision has IMAGENET1K_V1, IMAGENET1K_V2",
        ),
        ("resnet18", "did you mean IMAGENET1K_V1? of resnet18 torchvision has IMAGENET1K_V1"),
        (
            "efficientnet_lite1",
            "versions are torchvision's; allowed with efficientnet_lite1 are imagenet, random, a file or",
        ),
        (
            "timm/resnet18",
            "versions are torchvision's; timm's weights are a part of the name, as timm/resnet18.a1_in1k",
        ),
    ],
)
def test_a_version_that_was_not_published_is_refused_with_those_that_were(arch, said):
    with pytest.raises(UserError) as error:
        weights.fingerprint("resnet.weights = IMAGENET1K_V3", arch, "IMAGENET1K_V3", None)
    assert str(error.value).startswith("resnet.weights = IMAGENET1K_V3: ")
    assert said in str(error.value)


def test_layers_without_the_classifier_are_no_version_of_a_network():
    with pytest.raises(UserError, match=r"of vgg16 torchvision has IMAGENET1K_V1$"):
        weights.fingerprint("resnet.weights", "vgg16", "IMAGENET1K_FEATURES", None)


def test_a_version_that_was_published_is_fetched_from_its_own_address(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(weights, "fetch", lambda url, folder, _: asked.append(url) or folder)
    assert weights.fingerprint("resnet.weights", "resnet50", "IMAGENET1K_V1", None) is None
    for version in ("IMAGENET1K_V1", "IMAGENET1K_V2", "imagenet"):
        weights.locate("resnet50", version, Path(), tmp_path)
    assert [url.rsplit("/", 1)[1] for url in asked] == ["resnet50-0676ba61.pth", *["resnet50-11ad3fa6.pth"] * 2]


@pytest.fixture
def _repository(tmp_path, monkeypatch):
    """Where relative paths start, and where downloads go."""
    monkeypatch.setenv("SWEEP_ROOT", str(tmp_path))


@pytest.mark.usefixtures("_repository")
def test_pinned_weights_are_those_of_the_file(published, state):
    result = load_weights("", "resnet18", f"published/{published.name}", sha256=weights.sha256(published), seed=0)
    assert equal(result, state)


@pytest.mark.usefixtures("_repository")
def test_weights_of_another_architecture_are_refused_by_setting_and_tensor(published):
    with pytest.raises(UserError) as error:
        load_weights(f"resnet.weights = {published}", "resnet34", str(published), sha256=None, seed=0)
    assert str(error.value) == (
        f"resnet.weights = {published}: tensor layer1.2.bn1.bias is absent, but resnet34 has (64,); "
        "allowed is a state_dict of resnet34"
    )


@pytest.mark.usefixtures("_repository")
def test_weights_that_change_while_the_pipeline_runs_are_refused(published):
    with pytest.raises(
        UserError, match=r"^backbones, resnet18@w\.pth: .*changed while the pipeline ran; run it again$"
    ):
        load_weights("backbones, resnet18@w.pth", "resnet18", str(published), sha256="0" * 64, seed=0)


@pytest.mark.usefixtures("_repository")
def test_random_weights_depend_on_the_seed_alone():
    first, again, other = (load_weights("", "resnet18", "random", sha256=None, seed=seed) for seed in (1, 1, 2))
    assert equal(first, again)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
