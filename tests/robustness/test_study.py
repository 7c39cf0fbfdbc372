"""What is measured of arms is measured on the images that were chosen, is the same again, and goes on where it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from src.arms import Head, Network, affine
from src.core.errors import UserError
from src.nets import preprocess
from src.records.robustness import RobustnessResults
from src.robustness import corruptions, measure, study
from src.robustness.config import Robustness
from src.robustness.measure import Memo
from src.storage import paths
from src.storage.resume import StateFile

CONFIG = Robustness(
    enabled=True, images=6, severities=[1, 5], attacks=["fgsm", "autoattack"], epsilons=[1.0, 8.0], steps=2
)


class Means(nn.Module):
    """Three features of an image: the means of its colours; counts the images that it saw."""

    seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Means.seen += len(x)
        return x.mean((2, 3))


@pytest.fixture(scope="module")
def raw() -> dict[str, np.ndarray]:
    """Images of four classes, red, green, blue and grey ones in turn."""
    rng = np.random.default_rng(0)
    result = {}
    for split, count in (("train", 40), ("test", 24)):
        pixels = rng.integers(0, 60, (count, 8, 8, 3))
        for place in range(count):
            pixels[place, ..., [[0], [1], [2], [0, 1, 2]][place % 4]] += 120
        result[split] = pixels.astype(np.uint8)
    return result


@pytest.fixture(scope="module")
def subset() -> dict[str, np.ndarray]:
    """Red, green and blue are the classes; grey is left out."""
    train, test = np.arange(40), np.arange(24)
    train, test = train[train % 4 < 3], test[test % 4 < 3]
    return {"train_index": train, "train_labels": train % 4, "test_index": test, "test_labels": test % 4}


def networks() -> list[Network]:
    colours = {"mean": np.zeros(3), "std": np.ones(3), "weight": np.eye(3) * 10, "bias": np.zeros(3)}
    head = affine({name: part.astype(np.float32) for name, part in colours.items()}, torch.device("cpu"))
    view = preprocess.View(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return [
        Network(Means(), view, {"resnet.full": head}),
        Network(Means(), view, {"convnext.linear": head, "convnext.knn": Head(lambda x: -x)}),
    ]


def write(folder: Path, raw, subset, state_file: StateFile | None = None) -> RobustnessResults:
    arms = study.Study(
        networks=networks(),
        archs={"resnet": "resnet18", "convnext": "convnext_tiny"},
        raw=raw,
        raw_labels=np.arange(24) % 4,
        subset=subset,
        classes=3,
        dataset="cifar10",
        config=CONFIG,
        question=("resnet.finetuned", "convnext.frozen"),
        seed=0,
        accelerator=Accelerator(cpu=True),
    )
    return study.run_study(folder, arms, 0.95, state_file or StateFile())


@pytest.fixture(scope="module")
def made(tmp_path_factory, raw, subset) -> tuple[Path, RobustnessResults, int]:
    """The folder, the record, and how many images were looked at for them."""
    folder = tmp_path_factory.mktemp("robustness") / "plots"
    Means.seen = 0
    result = write(folder, raw, subset)
    return folder, result, Means.seen


def test_everything_is_written_and_what_is_missing_has_its_reason(made):
    folder, result, _ = made
    assert {path.name for path in folder.iterdir()} == {"corruptions.csv", "adversarial.csv", "ood.csv"}
    pictures = {path.name for path in paths.pictures(folder).iterdir()}
    assert pictures == {"corruptions.png", "adversarial.png", "ood.png", "examples.png"}
    assert result.n == 6
    assert set(result.unavailable) == {"autoattack", "frost", "convnext.knn"}
    assert "3 classes" in result.unavailable["autoattack"]
    numbers = result.numbers()
    assert numbers["resnet"]["full"]["near_auroc"] > 0.9
    assert [(row.arm, row.clean.value) for row in result.corruptions if row.arm in ("resnet.full", "convnext.knn")] == [
        ("resnet.full", 1),
        ("convnext.knn", 0),
    ]
    assert {row.attack for row in result.adversarial} == {"noise", "fgsm", "worst"}


def test_the_same_seed_gives_the_same_bytes(made, tmp_path, raw, subset):
    folder, result, _ = made
    assert write(tmp_path / "plots", raw, subset) == result
    for path in (*folder.iterdir(), *paths.pictures(folder).iterdir()):
        again = tmp_path / path.relative_to(folder.parent)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_a_stage_that_was_stopped_resumes_to_the_same_result(made, tmp_path, raw, subset, monkeypatch):
    _, result, seen = made
    asked: list[int] = []
    state_file = StateFile(tmp_path / "state", asked=asked)
    (tmp_path / "state").mkdir()
    counted = []

    def stop(images, name, severity, rng):
        counted.append(name)
        if len(counted) == 5:
            asked.append(15)
        return original(images, name, severity, rng)

    original = corruptions.corrupt
    monkeypatch.setattr(corruptions, "corrupt", stop)
    with pytest.raises(UserError, match=r"stopped by SIGTERM after impulse_noise.1; the same command goes on"):
        write(tmp_path / "plots", raw, subset, state_file)
    asked.clear()
    Means.seen = 0
    assert write(tmp_path / "plots", raw, subset, state_file) == result
    assert seen - Means.seen == 2 * 6 * (1 + 5)  # by both networks: the images as they are, and five corruptions


def test_test_images_of_the_classes_alone_are_chosen_and_near_ones_of_the_others(raw, subset):
    result, index = measure.choose(raw, subset, "cifar10", count=5, seed=0)
    assert len(index) == len(set(index)) == len(result.labels) == 5
    assert (result.labels == index % 4).all()
    assert np.array_equal(result.test, raw["test"][index])
    means = result.near.mean((1, 2))  # grey: all colours alike
    assert (means.max(1) - means.min(1) < 20).all()
    every, _ = measure.choose(raw, subset, "cifar10", count=None, seed=0)
    assert (len(every.test), len(every.near), len(every.train)) == (18, 6, 30)


def test_if_every_class_is_known_only_far_images_are_measured(raw):
    everything = {
        **{"train_index": np.arange(40), "train_labels": np.arange(40) % 3},
        **{"test_index": np.arange(24), "test_labels": np.arange(24) % 3},
    }
    chosen, _ = measure.choose(raw, everything, "cifar10", count=6, seed=0)
    why = study.left_out(networks(), chosen, ["frost"])
    assert "no class of the dataset is left out" in why["near"]
    result = measure.ood_scores(networks(), chosen, memo=Memo(StateFile()), accelerator=Accelerator(cpu=True))
    assert set(result) == {"resnet.full", "convnext.linear", "convnext.knn"}
    assert all(set(kinds) == {"test", "far"} for scores in result.values() for kinds in scores.values())


def test_official_files_take_the_place_of_corrupting_and_frost_is_among_them(raw, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24 * 5, 32, 32, 3), np.uint8)
    for name in corruptions.NAMES:
        np.save(tmp_path / f"{name}.npy", pixels)
    np.save(tmp_path / "labels.npy", np.tile(np.arange(24) % 4, 5).astype(np.uint8))
    index = np.array([3, 1])
    names, corrupt = study.source(str(tmp_path), raw["test"][index], index, np.arange(24) % 4, 0)
    assert "frost" in names
    assert len(names) == 19
    assert np.array_equal(corrupt("frost", 2), pixels[24 + index])
    with pytest.raises(UserError, match="not in the order"):
        study.source(str(tmp_path), raw["test"][index], index, np.zeros(24), 0)


def test_attacks_answer_for_arms_with_a_gradient_and_noise_is_always_among_them(raw, subset):
    chosen, _ = measure.choose(raw, subset, "cifar10", count=6, seed=0)
    result = measure.attacked(
        networks(),
        chosen,
        ["pgd"],
        Robustness(epsilons=[8.0, 200.0], steps=4),
        seed=0,
        memo=Memo(StateFile()),
        device=torch.device("cpu"),
    )
    assert set(result) == {"resnet.full", "convnext.linear"}
    assert set(result["resnet.full"]) == {
        (name, size) for name in ("noise", "pgd_short", "pgd") for size in (8.0, 200.0)
    }
    assert not result["resnet.full"]["pgd", 200.0].any()
    for key, right in result["resnet.full"].items():  # the same noise for the same head
        assert np.array_equal(right, result["convnext.linear"][key])
