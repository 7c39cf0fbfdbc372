"""A stage says as it begins how far the whole is, by what is known then; and DVC runs stages in dvc.yaml's order."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from src.settings.settings import Settings
from src.storage import files, paths
from stages import progress

STAGES = list(yaml.safe_load(Path("dvc.yaml").read_text())["stages"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiment whose images are chosen: 80 for training, 10 for validation, 100 for testing, under each seed."""
    (tmp_path / "dvc.yaml").write_text(Path("dvc.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        parts = {"train": np.arange(80) + 5 * seed, "val": np.arange(80, 90) + 5 * seed, "test": np.arange(100)}
        files.write_arrays(paths.subset(seed), **{f"{part}_index": index for part, index in parts.items()})
    return tmp_path


SETTINGS = {
    "seeds": [0, 1],
    "finetune": {"epochs": 10},
    "tune": {"configurations": 5},
    "controls": True,
}


def settings(**changes) -> Settings:
    return Settings.model_validate(SETTINGS | changes)


def trained(seconds: float) -> dict:
    return {"train_seconds": seconds, "images": 100}


@pytest.mark.usefixtures("folder")
def test_before_anything_is_known_the_number_of_the_stage_is_said():
    assert progress.line("tune", settings()) == "stage 4 of 16"
    files.write_json(paths.record("tune"), {"backbones": {"resnet": trained(30.0)}})
    assert re.fullmatch(r"stage 4 of 16, \d+% of the work is done, about .* left", progress.line("tune", settings()))
    for path in paths.SUBSET.iterdir():
        path.unlink()
    assert progress.line("tune", settings()) == "stage 4 of 16"


def shares(settings: Settings) -> list[int]:
    return [int(re.search(r"(\d+)%", progress.line(stage, settings)).group(1)) for stage in STAGES]


@pytest.mark.usefixtures("folder")
def test_the_share_rises_from_stage_to_stage_by_what_each_does():
    files.write_json(paths.record("tune"), {"backbones": {"resnet": trained(30.0), "convnext": trained(30.0)}})
    found = shares(settings())
    assert found == sorted(found)
    share = dict(zip(STAGES, found, strict=True))
    # 10 trainings of 800 images in the search, 4 others; 3 passes for each that is trained on.
    assert share["tune"] == 0
    assert share["finetune_resnet"] == pytest.approx(10 / 14 * 100, abs=3)
    assert share["embed_convnext"] >= 97
    without = shares(settings(controls=False))
    assert without[STAGES.index("finetune_convnext")] == pytest.approx(100, abs=5)


@pytest.mark.usefixtures("folder")
def test_the_time_left_follows_the_search_and_without_one_what_else_is_known():
    files.write_json(paths.record("embed_resnet"), {"images_per_second": 1000.0})
    assert re.search(r"about (\d+ seconds|\d minutes?) left", progress.line("finetune_resnet", settings()))
    files.write_json(paths.record("tune"), {"backbones": {"resnet": trained(300.0)}})
    assert "about 3 hours and 1 minute left" in progress.line("finetune_resnet", settings())


@pytest.mark.usefixtures("folder")
def test_a_record_that_was_cut_off_is_not_read():
    paths.record("tune").parent.mkdir(parents=True)
    paths.record("tune").write_text('{"backbones": {"res')
    assert progress.line("tune", settings()) == "stage 4 of 16"


@pytest.mark.parametrize(
    ("value", "said"), [("true", ""), ("1", ""), ("", "stage 4 of 16\n"), ("false", "stage 4 of 16\n")]
)
@pytest.mark.usefixtures("folder")
def test_nothing_is_said_where_nobody_watches(monkeypatch, capsys, value, said):
    monkeypatch.setenv("CI", value)
    progress.say("tune", settings())
    assert capsys.readouterr().out == said


@pytest.mark.usefixtures("folder")
def test_a_command_that_is_no_stage_says_nothing(capsys):
    progress.say(None, settings())
    assert capsys.readouterr().out == ""


def test_dvc_runs_the_stages_in_the_order_of_dvc_yaml(whole):
    assert re.findall(r"Running stage '([^:']+)':", whole.output) == STAGES
    said = re.findall(r"^stage (\d+) of 16(?:, (\d+)% of the work is done, about .+ left)?$", whole.output, re.M)
    assert [int(number) for number, _ in said] == list(range(1, 17))
    known = [int(share) for _, share in said if share]
    assert known == sorted(known)
    assert len(known) >= 12  # from the first training on
