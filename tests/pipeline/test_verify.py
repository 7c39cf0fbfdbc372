"""Verification: what came out as before is said, and what did not is named, the cause before what follows from it."""

import json

import pytest
import yaml


@pytest.mark.slow
def test_what_was_committed_comes_out_again(whole, copy_of):
    said = copy_of(whole).module("src.verify")
    assert "17 stages: every artefact and every number came out as it was committed" in said
    assert "recorded on another machine" not in said
    assert "not compared" not in said


def test_what_does_not_come_out_again_is_named_the_cause_first(smallest, copy_of):
    """As if a checkpoint had been another one, made with another version, and what was read from it too."""
    clone = copy_of(smallest)
    lock = clone.folder / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    for stage, path in (("eval_resnet", "data/predictions/resnet"), ("finetune_resnet", "data/checkpoints/resnet")):
        (out,) = [out for out in content["stages"][stage]["outs"] if out["path"] == path]
        out["md5"] = "0" * 32 + ".dir"
    (out,) = [out for out in content["stages"]["finetune_resnet"]["outs"] if out["path"].startswith("data/results/")]
    cached = clone.folder / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]
    record = json.loads(cached.read_text())
    record["seeds"]["0"]["full"]["environment"]["torch"] = "1.0"
    cached.chmod(0o644)
    cached.write_text(json.dumps(record))
    (lost,) = [out for out in content["stages"]["compare"]["outs"] if out["path"].startswith("data/results/")]
    (clone.folder / ".dvc/cache/files/md5" / lost["md5"][:2] / lost["md5"][2:]).unlink()
    lock.write_text(yaml.safe_dump(content))
    clone.commit("other results")
    said = clone.module("src.verify", fails=True).splitlines()
    assert (
        said[said.index("not compared, as they are not in DVC's cache (`dvc pull` brings them):") + 1]
        == "  data/results/compare.json"
    )
    assert "  torch: 1.0 recorded, 2.14.1 here" in said
    assert said[said.index("2 artefacts differ:") + 1 :] == [
        "  data/checkpoints/resnet (finetune_resnet): first cause",
        "  data/predictions/resnet (eval_resnet), which read what differs",
    ]


def test_without_a_committed_lock_file_there_is_nothing_to_compare_with(make_clone):
    said = make_clone().module("src.verify", fails=True)
    assert said.splitlines()[-1].startswith("error: dvc.lock: nothing to compare with in the last commit; run `dvc")
