"""Damaged files are noticed when they are read, and named."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from src.core.errors import UserError
from src.storage import features, files
from src.storage.rows import Row
from tests.helpers.dvc_cache import damaged, md5


def embedded(folder: Path) -> Path:
    """What a stage `embed_*` leaves; the file of its training images."""
    rows = {b"source": Row(np.ones(4, "float32").tobytes(), 0.1, 1)}
    features.write(folder, dict.fromkeys(features.SPLITS, (np.arange(50), [([b"source"] * 50, rows)])), 4)
    files.write_arrays(folder / "head.npz", weight=np.eye(4), bias=np.zeros(4))
    files.write_sums(folder)
    return folder / "train.npy"


def write(folder: Path, kind: str) -> Path:
    """A file of a kind, of which every byte matters."""
    path = folder / f"a.{kind}"
    if kind == "features":
        return embedded(folder)
    if kind == "npz":
        files.write_arrays(path, logits=np.ones((50, 4)))
    elif kind == "npy":
        files.write_array(path, [np.ones((50, 4))], (50, 4), "float32")
    elif kind == "safetensors":
        files.write_tensors(path, {"weight": torch.ones(50, 4)}, {"arch": "resnet18"})
    else:
        files.write_json(path, list(range(100)))
    return path


READ = {
    "features": lambda path: features.read_features(path.parent),
    "npz": files.read_arrays,
    "npy": files.read_array,
    "safetensors": files.read_tensors,
    "json": files.read_json,
}


@pytest.mark.parametrize("kind", READ)
def test_what_was_written_is_read(kind, tmp_path):
    result = READ[kind](write(tmp_path, kind))
    ones = {
        "features": lambda: result[0]["train"][np.arange(50)],
        "npz": lambda: result["logits"],
        "npy": lambda: result,
        "safetensors": lambda: result[0]["weight"].numpy(),
    }
    if kind == "json":
        assert result == list(range(100))
    else:
        np.testing.assert_array_equal(ones[kind](), np.ones((50, 4)))


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_was_cut_is_named(kind, tmp_path):
    path = write(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is damaged") as error:
        READ[kind](path)
    assert str(path if kind != "features" else path.parent) in str(error.value)
    assert "`dvc repro` makes it again" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_is_gone_is_named(kind, tmp_path):
    path = write(tmp_path, kind)
    path.unlink()
    with pytest.raises(UserError, match=r"is missing; `dvc pull` brings it from a remote, `make repro` makes it$"):
        READ[kind](path)


@pytest.mark.parametrize("kind", ["features", "npz", "safetensors"])
def test_any_flipped_bit_of_numbers_that_decide_a_result_is_noticed(kind, tmp_path):
    path = write(tmp_path, kind)
    good = path.read_bytes()
    start = good.index(np.ones(4, "float64" if kind == "npz" else "float32").tobytes())
    for place in range(start, start + 400, 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        with pytest.raises(UserError, match="is damaged"):
            READ[kind](path)
    path.write_bytes(good)
    READ[kind](path)


def test_no_file_that_is_read_can_run_code(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects"):
        files.read_array(path)
    path = tmp_path / "a.npz"
    np.savez(path, logits=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(UserError, match="allow_pickle=False"):
        files.read_arrays(path)


def test_sums_are_those_of_sha256sum(tmp_path):
    embedded(tmp_path)
    done = subprocess.run(["sha256sum", "-c", files.SUMS], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 5


def test_a_digest_tells_names_and_values_apart_and_not_layouts():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert files.digest({"a": tensor}) == files.digest({"a": tensor.T.contiguous().T})
    assert len({files.digest({name: tensor + add}) for name in "ab" for add in (0, 1)}) == 4


def test_the_cache_holds_damage_where_a_file_no_longer_has_the_hash_in_its_name(tmp_path):
    for content in (b"one", b"two", b"[]"):
        digest = md5(write_bytes(tmp_path / "file", content))
        write_bytes(tmp_path / digest[:2] / (digest[2:] + (".dir" if content == b"[]" else "")), content)
    assert list(damaged(tmp_path)) == []
    path = next(tmp_path.glob("*/*"))
    path.write_bytes(b"three")
    assert list(damaged(tmp_path)) == [path]


def write_bytes(path: Path, content: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path
