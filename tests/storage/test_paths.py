"""Paths of the settings."""

import os
from pathlib import Path

import pytest
import yaml

from src.core.errors import UserError
from src.settings.protocols import filled
from src.settings.settings import Settings
from src.storage import paths
from stages import inputs


def test_the_home_of_nobody_is_refused_and_ones_own_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.from_root("~/photos") == tmp_path / "photos"
    with pytest.raises(UserError, match=r"^~nosuchuser/photos: ~nosuchuser is no user's home here; "):
        paths.from_root("~nosuchuser/photos")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The present folder, with some of what stages leave."""
    monkeypatch.chdir(tmp_path)
    for name in ("SWEEP_ROOT", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for name in (
        "data/checkpoints/resnet/seed0/full.safetensors",
        "data/raw/train/cat/1.png",
        "plots/a/train/cat/1.png",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    return tmp_path


NONE = {
    "~nosuchuser/a": "~nosuchuser is no user's home here",
    "a" * 5000: "cannot be read: File name too long",
    "a\0b": "it has characters that no path has",
    "nowhere/at/all": "",
}
SETTINGS = {
    "resnet.weights": lambda path: {"resnet": {"weights": path}},
    "convnext.weights": lambda path: {"convnext": {"weights": path}},
    "backbones": lambda path: {"backbones": ["resnet18", f"resnet18@{path}"], "controls": True},
    "folder": lambda path: {"dataset": "folder", "folder": path},
    "robustness.corrupted": lambda path: {"robustness": {"enabled": True, "corrupted": path}},
}


def error_of(name: str, path: str) -> str:
    with pytest.raises(UserError) as caught:
        inputs.main(Settings.model_validate(filled(SETTINGS[name](path))))
    return str(caught.value)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("path", NONE)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_path_that_is_none_is_one_line_with_the_setting(name, path):
    line = error_of(name, path)
    assert line.startswith(name)
    assert NONE[path] in line
    assert "\n" not in line


def test_the_pipelines_own_outputs_are_no_inputs_however_they_are_named(project):
    own = project / "data" / "checkpoints" / "resnet" / "seed0" / "full.safetensors"
    elsewhere = project / "mine"
    elsewhere.mkdir()
    cached = project / "cached"
    own.rename(cached)
    own.symlink_to(cached)  # as DVC links to its cache, if it is told to
    (elsewhere / "file").symlink_to(os.path.relpath(own, elsewhere))
    (elsewhere / "again").symlink_to("file")
    (elsewhere / "folder").symlink_to(own.parent)
    (elsewhere / "loop").symlink_to("loop")
    named = (own.relative_to(project), own, "mine/../data/checkpoints/resnet/seed0/full.safetensors")
    for path in (*named, "mine/file", "mine/again", "mine/folder/full.safetensors"):
        line = error_of("resnet.weights", str(path))
        assert line.startswith(f"resnet.weights = {path}: it lies in data/checkpoints/, where the pipeline writes")
    assert "there is no file" in error_of("resnet.weights", "mine/loop")
    assert "there is no file" in error_of("resnet.weights", "data/downloads/resnet.pth")


@pytest.mark.parametrize("name", ["folder", "robustness.corrupted"])
@pytest.mark.parametrize(("path", "within"), [("data/raw", "data/raw"), ("plots/a", "plots"), ("link/a", "plots")])
def test_nor_are_folders_of_them(project, name, path, within):
    (project / "link").symlink_to("plots")
    assert error_of(name, path).startswith(f"{name} = {path}: it lies in {within}/, where the pipeline writes")


@pytest.mark.parametrize("part", ["train", "train/cat", "val"])
def test_nor_are_parts_of_a_folder_that_lead_there(project, part):
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            (project / "mine" / split / label).mkdir(parents=True)
    (project / "mine" / part).rename(project / "before")
    (project / "mine" / part).symlink_to(project / "data" / "raw" / "train")
    assert error_of("folder", "mine").startswith("folder = mine: it lies in data/raw/")


def test_a_queued_experiment_refuses_the_outputs_of_the_users_project_too(project, monkeypatch):
    copy = project / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert error_of("folder", "data/raw").startswith("folder = data/raw: it lies in data/raw/")


def test_a_root_of_another_project_that_was_left_in_the_environment_is_not_believed(project, monkeypatch):
    other = project / "other"
    other.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(other))
    assert paths.from_root("photos") == Path("photos")


def test_every_output_lies_where_the_pipeline_is_known_to_write():
    root = Path(__file__).parents[2]
    for name in ("dvc.yaml", "data/dvc.yaml"):
        for stage in yaml.safe_load((root / name).read_text())["stages"].values():
            for out in (*stage.get("outs", ()), *stage.get("metrics", ())):
                path = Path(next(iter(out)) if isinstance(out, dict) else out)
                assert any(path.is_relative_to(folder) for folder in paths.WRITTEN), path
