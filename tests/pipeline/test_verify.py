"""Verification: what came out as before is said, and what did not is named, the cause before what follows from it."""

import json
from pathlib import Path

import pytest
import yaml

from src import verify


@pytest.mark.slow
def test_what_was_committed_comes_out_again(whole, copy_of):
    said = copy_of(whole).module("src.verify")
    assert "16 stages: every artefact and every number came out as it was committed" in said
    assert "recorded on another machine" not in said


def test_what_does_not_come_out_again_is_named_the_cause_first(smallest, copy_of):
    """As if a checkpoint had been another one, made with another version, and what was read from it too."""
    clone = copy_of(smallest)
    lock, metrics = clone.folder / "dvc.lock", clone.folder / "metrics/finetune_resnet.json"
    before = lock.read_text(), metrics.read_text()
    content = yaml.safe_load(before[0])
    for stage, path in (("eval_resnet", "data/predictions/resnet"), ("finetune_resnet", "data/checkpoints/resnet")):
        (out,) = [out for out in content["stages"][stage]["outs"] if out["path"] == path]
        out["md5"] = "0" * 32 + ".dir"
    lock.write_text(yaml.safe_dump(content))
    found = json.loads(before[1])
    found["finetune_resnet"]["full"]["environment"][0]["torch"] = "1.0"
    metrics.write_text(json.dumps(found))
    clone.commit("other results")
    said = clone.module("src.verify", fails=True).splitlines()
    assert "  torch: 1.0 recorded, 2.14.1 here" in said
    assert said[said.index("2 artefacts differ:") + 1 :] == [
        "  data/checkpoints/resnet (finetune_resnet): first cause",
        "  data/predictions/resnet (eval_resnet), which read what differs",
    ]


def test_without_a_committed_lock_file_there_is_nothing_to_compare_with(make_clone):
    said = make_clone().module("src.verify", fails=True)
    assert said.splitlines()[-1].startswith("error: dvc.lock: nothing to compare with in the last commit; run `dvc")


def write_lock(root: Path, **stages: tuple[dict[str, str], dict[str, str]]) -> None:
    """A lock file: stage -> what it read and what it made."""
    root.mkdir(exist_ok=True)
    entries = {
        name: {
            part: [{"path": path, "md5": digest} for path, digest in items.items()]
            for part, items in zip(("deps", "outs"), given, strict=True)
        }
        for name, given in stages.items()
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": entries}))


def test_causes_come_before_what_follows_whatever_the_order_of_the_file(tmp_path):
    for folder, digest in (("a", "1"), ("b", "2")):
        write_lock(
            tmp_path / folder,
            last=({"middle/part": digest}, {"end": digest}),
            middle=({"begin": digest}, {"middle": digest}),
            first=({"code.py": "0"}, {"begin": digest, "other": "0"}),
        )
    found = list(verify.differences(tmp_path / "a", tmp_path / "b"))
    assert [(each.path, each.cause) for each in found] == [("begin", True), ("middle", False), ("end", False)]


def test_times_are_no_difference_and_numbers_are(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder / "metrics").mkdir(parents=True)
        path = tmp_path / folder / "metrics" / "resnet.json"
        path.write_text(json.dumps({"arm": {"accuracy": 0.5, "seconds": value, "environment": [{"torch": value}]}}))
        write_lock(tmp_path / folder, eval=({}, {"metrics/resnet.json": str(value)}))
    assert list(verify.differences(tmp_path / "a", tmp_path / "b")) == []
    assert list(verify.machines(tmp_path / "a", tmp_path / "b")) == ["torch: 1 recorded, 2 here"]
    path.write_text(json.dumps({"arm": {"accuracy": 0.6, "seconds": 1}}))
    (found,) = verify.differences(tmp_path / "a", tmp_path / "b")
    assert str(found) == "metrics/resnet.json (eval): first cause"
