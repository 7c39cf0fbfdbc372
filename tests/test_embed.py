"""Embedding: the images that are asked for, each once, with the same bytes whatever was embedded before."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src import embed
from src.core.errors import UserError
from src.device import runtime
from src.nets import inference, models
from src.storage import features, resume
from src.storage.resume import StateFile
from src.storage.rows import RowStore

ARCH, SIZE, COUNT = "shufflenet_v2_x0_5", 32, 300
RAW = np.random.default_rng(0).integers(256, size=(COUNT, 12, 12, 3), dtype=np.uint8)
WEIGHTS = models.build(ARCH, 1000, seed=0).state_dict(), {"arch": ARCH, "weights": "random"}
CPU = runtime.start("cpu", "fp32")
FEW, OTHERS, ALL = np.arange(0, 200, 2), np.arange(1, 250, 3), np.arange(COUNT)


def run(folder: Path, shared: Path | None, index: np.ndarray, raw: np.ndarray = RAW, **changes):
    """The record after embedding some images as training images, and the first three as test images."""
    given = {"weights": WEIGHTS, "image_size": SIZE, "normalisation": "half", "state_file": StateFile()} | changes
    parts = {"train": embed.Part(raw, index), "test": embed.Part(raw[::-1], np.arange(3))}
    return embed.embed(folder, parts=parts, accelerator=CPU, shared=shared, **given)


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def embedded(monkeypatch) -> list[int]:
    """The positions of the images that pass the network, split by split."""
    seen, plain = [], inference.outputs

    def outputs(model, images, index, **given):
        seen.extend(index.tolist())
        return plain(model, images, index, **given)

    monkeypatch.setattr(inference, "outputs", outputs)
    return seen


def test_an_image_is_embedded_once_whichever_experiments_read_it(tmp_path, embedded, capsys):
    shared = tmp_path / "cache"
    run(tmp_path / "few", shared, FEW)
    assert embedded == [*FEW, 0, 1, 2]
    assert "103 images -> 1024 features each: 103 embedded, 0 there already" in capsys.readouterr().out
    embedded.clear()
    run(tmp_path / "others", shared, OTHERS)
    assert embedded == sorted(set(OTHERS) - set(FEW) - {COUNT - 1, COUNT - 2, COUNT - 3})
    embedded.clear()
    run(tmp_path / "again", shared, FEW)
    assert embedded == []
    assert "103 images -> 1024 features each: 0 embedded, 103 there already" in capsys.readouterr().out
    run(tmp_path / "alone", None, FEW)
    assert embedded == [*FEW, 0, 1, 2]


def test_the_bytes_do_not_depend_on_what_was_embedded_before(tmp_path):
    run(tmp_path / "expected", None, ALL)
    for number, order in enumerate([(FEW, OTHERS, ALL), (OTHERS, FEW, ALL), (ALL[::-1][:1], ALL)]):
        for index in order:
            run(tmp_path / f"{number}", tmp_path / f"cache{number}", index)
        assert outputs(tmp_path / f"{number}") == outputs(tmp_path / "expected")
    part, _ = features.read_features(tmp_path / "expected")
    run(tmp_path / "few", tmp_path / "cache0", FEW)
    few, _ = features.read_features(tmp_path / "few")
    np.testing.assert_array_equal(few["train"][FEW], part["train"][FEW])
    with pytest.raises(UserError, match="image 1 has no features"):
        few["train"][np.array([0, 1])]


def test_images_of_the_same_pixels_are_embedded_once_and_of_others_anew(tmp_path, embedded):
    raw = RAW.copy()
    raw[7] = raw[4]
    run(tmp_path / "twins", tmp_path / "cache", np.array([4, 7]), raw)
    assert embedded == [4, 0, 1, 2]
    result, _ = features.read_features(tmp_path / "twins")
    np.testing.assert_array_equal(*result["train"][np.array([4, 7])])
    embedded.clear()
    raw[4, 0, 0, 0] ^= 1
    run(tmp_path / "twins", tmp_path / "cache", np.array([4, 7]), raw)
    assert embedded == [4]


def test_rows_are_only_those_of_the_same_network_preprocessing_code_and_machine(tmp_path, embedded, monkeypatch):
    shared, other = tmp_path / "cache", (models.build(ARCH, 1000, seed=1).state_dict(), WEIGHTS[1])
    run(tmp_path / "out", shared, FEW)
    for changes in ({"weights": other}, {"image_size": 64}, {"normalisation": "weights"}):
        embedded.clear()
        run(tmp_path / "out", shared, FEW, **changes)
        assert len(embedded) == len(FEW) + 3, changes
    code = Path(shutil.copytree(embed.HERE, tmp_path / "src"))
    monkeypatch.setattr(embed, "HERE", code)
    embedded.clear()
    run(tmp_path / "out", shared, FEW)
    assert embedded == []
    with (code / "nets" / "inference.py").open("a") as file:
        file.write("# Another.\n")
    run(tmp_path / "out", shared, FEW)
    assert len(embedded) == len(FEW) + 3
    machine = runtime.machine(CPU)
    for changes, count in (({"threads": 99}, len(FEW) + 3), ({"timm": "1.0"}, 0)):
        embedded.clear()
        monkeypatch.setattr(runtime, "machine", lambda _, changes=changes: machine | changes)
        run(tmp_path / "out", shared, FEW)
        assert len(embedded) == count, changes


def test_the_record_says_what_the_images_cost_when_they_were_embedded(tmp_path):
    first = run(tmp_path / "out", tmp_path / "cache", FEW)
    assert first.images == 103
    assert first.images_per_second == pytest.approx(103 / first.seconds)
    assert run(tmp_path / "out", tmp_path / "cache", FEW) == first
    more = run(tmp_path / "out", tmp_path / "cache", ALL)
    assert more.seconds > first.seconds
    assert (more.macs, more.executed_macs, more.parameters) == (first.macs, first.executed_macs, first.parameters)


@pytest.mark.parametrize("damage", ["row", "file"])
def test_damaged_rows_are_embedded_again(tmp_path, embedded, damage):
    run(tmp_path / "expected", tmp_path / "cache", FEW)
    (path,) = (tmp_path / "cache").glob("*.sqlite")
    if damage == "row":
        source = embed.Part(RAW, FEW).sources.rows[5].tobytes()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE rows SET row = zeroblob(4136) WHERE source = ?", (source,))
        connection.close()
    else:
        path.write_bytes(path.read_bytes()[:-5000])
    embedded.clear()
    run(tmp_path / "again", tmp_path / "cache", FEW)
    assert embedded == ([FEW[5]] if damage == "row" else [*FEW, 0, 1, 2])
    assert outputs(tmp_path / "again") == outputs(tmp_path / "expected")


def test_a_disk_without_room_for_rows_costs_only_what_others_would_get(tmp_path, monkeypatch, capsys):
    run(tmp_path / "expected", None, FEW)
    connect = sqlite3.connect

    def full(path, **options):
        connection = connect(path, **options)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    monkeypatch.setattr(resume, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(sqlite3, "connect", full)
    run(tmp_path / "out", tmp_path / "cache", FEW)
    assert capsys.readouterr().out.count("database or disk is full") == 1
    assert outputs(tmp_path / "out") == outputs(tmp_path / "expected")


def test_who_is_stopped_keeps_what_was_embedded(tmp_path, capsys):
    """After the first batch, of 128 images."""
    run(tmp_path / "expected", None, ALL)
    with pytest.raises(UserError, match=r"^stopped by SIGINT after 128 of 300 images; the same command goes on"):
        run(tmp_path / "out", tmp_path / "cache", ALL, state_file=StateFile(asked=[signal.SIGINT]))
    assert not (tmp_path / "out").exists()
    run(tmp_path / "out", tmp_path / "cache", ALL)
    assert "303 images -> 1024 features each: 172 embedded, 131 there already" in capsys.readouterr().out
    assert outputs(tmp_path / "out") == outputs(tmp_path / "expected")


def test_a_process_that_waits_for_another_says_so_and_can_be_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed, "POLL", 0.01)
    run(tmp_path / "out", tmp_path / "cache", FEW)
    (path,) = (tmp_path / "cache").glob("*.sqlite")
    other = RowStore(path)
    assert other.acquire(0)
    run(tmp_path / "out", tmp_path / "cache", FEW)  # needs none
    with pytest.raises(UserError, match="stopped by SIGTERM while another process embedded"):
        run(tmp_path / "out", tmp_path / "cache", ALL, state_file=StateFile(asked=[signal.SIGTERM]))
    assert capsys.readouterr().out.count("another process embeds with this network; waiting") == 1
    other.release()
    run(tmp_path / "out", tmp_path / "cache", ALL)


AT_ONCE = """
import sys
from pathlib import Path
from tests.test_embed import *
run(Path(sys.argv[1]), Path(sys.argv[2]), ALL[int(sys.argv[3]) :])
"""


def test_two_processes_at_once_embed_each_image_once(tmp_path):
    run(tmp_path / "expected", None, ALL)
    command = (sys.executable, "-c", AT_ONCE)
    running = [
        subprocess.Popen([*command, tmp_path / f"{first}", tmp_path / "cache", f"{first}"], stdout=subprocess.PIPE)
        for first in (0, 100, 0)
    ]
    said = [process.communicate()[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    new = [int(text.split("features each: ")[1].split(" embedded")[0]) for text in said]
    assert sum(new) == COUNT
    assert outputs(tmp_path / "0") == outputs(tmp_path / "expected")
