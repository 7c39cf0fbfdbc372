"""The stage of further backbones, on digits and with random weights: what it computes, and what it resumes."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from src.core.errors import UserError
from src.records.backbones import FurtherBackbones
from src.settings.settings import Settings, load
from src.storage import files, paths, resume
from stages import backbones, download, inputs, prepare, weights

NAME = "mnasnet0_5-random"
SETTINGS = {
    "dataset": "digits",
    "device": "cpu",
    "classes": 3,
    "image_size": 32,
    "seeds": [0, 1],
    "prepare": {"per_class": 20, "val_fraction": 0.3},
    "resnet": {"arch": "shufflenet_v2_x0_5", "weights": "random"},
    "convnext": {"arch": "mobilenet_v3_small", "weights": "random"},
    "backbones": ["shufflenet_v2_x0_5@random", "mnasnet0_5@random", "mobilenet_v3_small@random"],
    "finetune": {"epochs": 1, "batch_size": 16},
    "tune": {"configurations": 2},
    "frozen": {"readouts": ["centroid", "zero_shot"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder after the stages before, where we are."""
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        shutil.copy("dvc.yaml", folder)
        patch.chdir(folder)
        for name in ("DVC_ROOT", "SWEEP_ROOT"):
            patch.delenv(name, raising=False)
        Path("params.yaml").write_text(yaml.safe_dump(SETTINGS))
        for stage in (inputs, download, weights, prepare):
            stage.main(load())
        yield folder


def outputs() -> dict[str, str]:
    """The hashes of what the stage leaves, but for times."""
    folders = [Path("data", kind, "backbones") for kind in ("features", "checkpoints", "predictions")]
    return {str(path): files.sha256(path) for part in folders for path in sorted(part.rglob("*")) if path.is_file()}


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("folder")
def test_only_what_is_no_role_is_computed_and_an_interrupted_run_goes_on(monkeypatch, capsys):
    """It is cut before the last test; what is embedded, searched and trained by then is not computed again."""
    monkeypatch.setattr(resume, "SAVE_EVERY", 0)  # seconds, of which digits take none
    with monkeypatch.context() as patch:
        patch.setattr(backbones, "finetuned", lambda *_: (_ for _ in ()).throw(UserError("stopped")))
        with pytest.raises(UserError, match="stopped"):
            backbones.main(load())
    cut = {path: digest for path, digest in outputs().items() if "finetuned" not in path}
    assert capsys.readouterr().out.count("epoch 1:") == 2  # of either seed; trials show no epochs
    backbones.main(load())
    printed = capsys.readouterr().out
    assert "epoch 1:" not in printed
    assert "trial" not in printed
    assert re.search(r"features each: 0 embedded, \d+ there already", printed)
    after = outputs()
    assert {path: after[path] for path in cut} == cut
    assert list(Path("data/resume").glob("backbones-*")) == []
    assert listing(Path("data/predictions/backbones")) == {f"{NAME}_frozen", f"{NAME}_finetuned"}
    assert listing(Path("data/weights")) == {"resnet.safetensors", "convnext.safetensors", "backbones"}
    assert listing(Path("data/weights/backbones")) == {f"{NAME}.safetensors"}
    record = files.read_record(paths.record("backbones"), FurtherBackbones)
    assert list(record.backbones) == [NAME]
    found = record.backbones[NAME]
    assert found.name == "mnasnet0_5@random"
    assert set(found.frozen.seeds) == set(found.finetuned.seeds) == {"0", "1"}
    assert set(found.frozen.arms) == {"centroid"}
    assert found.frozen.unavailable.keys() == {"zero_shot"}
    assert found.search.configurations == found.finetuned.arms["full"].configurations == 2
    assert found.finetuned.arms["full"].train_macs > found.search.train_macs  # which it includes
    assert set(files.read_json(paths.metrics("backbones"))["backbones"][NAME]) == {"centroid", "full"}
    _, header = files.read_tensors(paths.of_seed(paths.checkpoints(NAME), 1) / "full.safetensors")
    assert (header["arch"], header["weights"], header["seed"]) == ("mnasnet0_5", "random", 1)
    assert header["recipe"]["lr"] == found.search.lr
    tested = files.read_arrays(paths.of_seed(paths.predictions(f"{NAME}.finetuned"), 1) / "full.npz")
    subset = files.read_arrays(paths.subset(1))
    assert np.array_equal(tested["index"], subset["test_index"])
    assert np.mean(tested["logits"].argmax(1) == tested["labels"]) == found.finetuned.seeds["1"]["full"].accuracy


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("entries", [None, ["mobilenet_v3_small@random", "shufflenet_v2_x0_5@random"]])
def test_a_list_that_adds_none_computes_nothing_and_leaves_empty_outputs(entries):
    backbones.main(Settings.model_validate(SETTINGS | {"backbones": entries}))
    assert {Path(name).name for name in outputs()} == {files.NOTHING}
    assert Path("data/predictions/backbones").is_dir()
    assert files.read_record(paths.record("backbones"), FurtherBackbones).backbones == {}
    assert files.read_json(paths.metrics("backbones")) == {}


def test_the_stage_declares_every_output_and_the_code_of_the_stages_that_it_calls():
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    deps = set(pipeline["backbones"]["deps"])
    for stage in ("embed_resnet", "tune", "finetune_resnet", "eval_resnet", "eval_resnet_frozen"):
        code = {name for name in pipeline[stage]["deps"] if name.startswith(("src/", "stages/"))}
        assert code <= deps, stage
    assert set(pipeline["backbones"]["outs"]) >= {f"data/{kind}/backbones" for kind in ("features", "predictions")}
    assert {"data/predictions/backbones", "data/results/backbones.json"} <= set(pipeline["compare"]["deps"])
