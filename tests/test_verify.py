"""Verification: differences between two runs, causes before consequences."""

import json
from pathlib import Path

import yaml

from src import verify


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
    result = list(verify.differences(tmp_path / "a", tmp_path / "b"))
    assert [(each.path, each.cause) for each in result] == [("begin", True), ("middle", False), ("end", False)]


def test_a_stage_that_the_pipeline_no_longer_has_is_not_compared(tmp_path):
    write_lock(tmp_path / "a", gone=({}, {"old": "1"}), here=({}, {"new": "1"}))
    write_lock(tmp_path / "b", here=({}, {"new": "2"}))
    assert [str(each) for each in verify.differences(tmp_path / "a", tmp_path / "b")] == ["new (here): first cause"]


def test_times_are_no_difference_and_numbers_are(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder / "data/results").mkdir(parents=True)
        path = tmp_path / folder / "data/results/resnet.json"
        path.write_text(json.dumps({"arm": {"accuracy": 0.5, "seconds": value, "environment": {"torch": value}}}))
        write_lock(tmp_path / folder, eval=({}, {"data/results/resnet.json": str(value)}))
    first, second = tmp_path / "a", tmp_path / "b"
    assert list(verify.differences(first, second)) == []
    assert list(verify.machines(first, second)) == ["torch: 1 recorded, 2 here"]
    path.write_text(json.dumps({"arm": {"accuracy": 0.6, "seconds": 1}}))
    (result,) = verify.differences(first, second)
    assert str(result) == "data/results/resnet.json (eval): first cause"
    (first / "data/results/resnet.json").unlink()
    assert list(verify.differences(first, second)) == []
