"""Files: written whole or not at all, with the same bytes for the same content."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from src.core.errors import UserError
from src.storage import files, paths

ROOT = Path(__file__).parents[2]


def figure() -> Figure:
    drawn = Figure()
    drawn.subplots().plot([0, 1], [1, 0])
    return drawn


def write_one_of_each(folder: Path) -> dict[str, str]:
    """A file of every kind, and the SHA-256 of each."""
    files.write_json(folder / "a.json", {"é": 1.5, "b": [1, 2]})
    files.write_array(folder / "a.npy", [np.arange(6).reshape(3, 2)], (3, 2), "int64")
    files.write_arrays(folder / "a.npz", logits=np.eye(3, dtype=np.float32), labels=np.arange(3))
    about = {"arch": "resnet18", "seed": 0, "recipe": {"lr": 1e-3, "epochs": 5}, "classes": ["cat", "dog"]}
    files.write_tensors(folder / "a.safetensors", {name: torch.arange(5.0) for name in "qwertyuiop"}, about)
    files.write_table(folder / "a.csv", ("class", "n"), [("cat, grey", 1), ("dog", 2)])
    files.write_figure(folder / "a.png", figure())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_content_gives_the_same_bytes_in_another_process_later(tmp_path):
    """Another hash seed orders sets differently, and by then the clock has moved on by two seconds, zip's unit."""
    here = write_one_of_each(tmp_path / "here")
    assert sorted(here) == ["a.csv", "a.json", "a.npy", "a.npz", "a.png", "a.safetensors"]
    code = (
        "import json, sys, time; from pathlib import Path; from tests.storage import test_files as t; time.sleep(1);"
        "print(json.dumps(t.write_one_of_each(Path(sys.argv[1]))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "there")]
    there = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(there.stdout) == here


def test_a_file_appears_whole_under_its_name(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with files.replacing(path) as temporary:
        temporary.write_text("text")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "text"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_in_one_line_with_the_path(tmp_path):
    path = tmp_path / "file.txt"

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError) as error:
        fail()
    assert str(error.value) == f"{path} could not be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="could not be written"):
        files.write_json(tmp_path / "file" / "a.json", 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}])
def test_json_refuses_what_json_has_not_and_keeps_the_old_file(tmp_path, bad):
    path = tmp_path / "a.json"
    files.write_json(path, {"loss": 1})
    with pytest.raises((ValueError, TypeError)):
        files.write_json(path, {"loss": bad})
    assert files.read_json(path) == {"loss": 1}


def test_json_keeps_every_digit_and_letter(tmp_path):
    value = {"loss": 0.1 + 0.2, "classes": ["猫", "naïve"], "n": 10**15}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert (tmp_path / "a.json").read_bytes().isascii()


def test_an_array_is_streamed(tmp_path):
    """Blocks share one buffer, so that whoever kept them all would keep the last one thrice."""
    buffer = np.zeros((2, 4), np.uint8)

    def blocks():
        for value in range(3):
            buffer[:] = value
            yield buffer

    files.write_array(tmp_path / "a.npy", blocks(), (6, 4), "uint8")
    np.testing.assert_array_equal(files.read_array(tmp_path / "a.npy"), np.repeat([0, 0, 1, 1, 2, 2], 4).reshape(6, 4))


def test_an_array_comes_back_as_a_map_of_the_file_that_cannot_be_written(tmp_path):
    files.write_array(tmp_path / "a.npy", [np.zeros(3)], (3,), "float32")
    array = files.read_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap)
    assert array.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_an_array_of_too_many_or_too_few_rows_is_not_kept(tmp_path, rows):
    with pytest.raises(ValueError, match=f"{rows} rows for an array of 3"):
        files.write_array(tmp_path / "a.npy", (np.zeros((1, 2)) for _ in range(rows)), (3, 2), "uint8")
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_by_name(tmp_path):
    files.write_arrays(tmp_path / "a.npz", labels=np.arange(3), logits=np.eye(2))
    result = files.read_arrays(tmp_path / "a.npz")
    assert list(result) == ["labels", "logits"]
    np.testing.assert_array_equal(result["logits"], np.eye(2))


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        files.write_arrays(tmp_path / "a.npz", names=np.array([{}], dtype=object))
    assert list(tmp_path.iterdir()) == []


def test_tensors_come_back_equal_with_what_was_written_about_them(tmp_path):
    tensors = {"whole": torch.arange(6).reshape(2, 3), "turned": torch.arange(6.0).reshape(2, 3).T}
    about = {"arch": "resnet18", "history": [{"loss": 0.1}], "note": "ünï"}
    files.write_tensors(tmp_path / "a.safetensors", tensors, about)
    result, said = files.read_tensors(tmp_path / "a.safetensors")
    assert said == about
    assert result.keys() == tensors.keys()
    assert all(torch.equal(result[name], tensors[name]) for name in tensors)


def test_a_table_is_quoted_where_a_class_name_needs_it(tmp_path):
    files.write_table(tmp_path / "a.csv", ("class", "n"), [('the "cat", grey', 1)])
    assert (tmp_path / "a.csv").read_bytes() == b'class,n\n"the ""cat"", grey",1\n'


def test_a_folder_for_others_to_fill_is_empty_each_time(tmp_path):
    folder = tmp_path / "plots" / "curves"
    for _ in range(2):
        assert files.empty_folder(folder) == str(folder)
        assert list(folder.iterdir()) == []
        (folder / "stale.tsv").write_text("of an earlier run")


def test_relative_paths_start_at_the_repository_of_the_user(monkeypatch, tmp_path):
    """DVC_ROOT names it in the copies where queued experiments run."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert paths.from_root("pictures") == Path("pictures")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert paths.from_root("pictures") == Path("pictures")  # a leftover of another project
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert paths.from_root("pictures") == tmp_path / "pictures"
    assert paths.from_root("/elsewhere/pictures") == Path("/elsewhere/pictures")
    assert paths.from_root("~/pictures") == Path.home() / "pictures"


def test_experiments_share_the_downloads_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEP_ROOT", str(tmp_path))
    assert paths.downloads() == tmp_path / "data" / "downloads"
    assert paths.downloads().is_dir()
