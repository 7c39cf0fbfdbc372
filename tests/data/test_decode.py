"""Decoding images: several processes give the pixels of one, despite broken files, kills and added files."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data import decode, folders, sources
from src.storage import files
from src.storage.resume import StateFile

CLASSES = ("n01440764", "n02102040", "n03000684")  # as Imagenette names them: tench, English springer, chain saw


def tree(root: Path, per_class: int, sides: tuple[int, int] = (20, 60)) -> Path:
    """An ImageNet-like tree: train and val, folders named by synsets, one of them nested; JPEG files of many sizes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", per_class), ("val", max(1, per_class // 8))):
        for name in CLASSES:
            for number in range(count):
                path = root / split / name / ("images" if name == CLASSES[1] else "") / f"{name}_{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(256, size=(5, 5, 3), dtype=np.uint8)
                Image.fromarray(noise).resize(rng.integers(*sides, size=2).tolist()).save(path)
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return tree(tmp_path_factory.mktemp("images"), 48)


def expected(root: Path) -> dict[str, np.ndarray]:
    """What Pillow and the listing say."""
    listing, _ = folders.scan(root)
    every = {split: list(folders.paths(root, listing, split)) for split in folders.SPLITS}
    square = decode.square_side(decode.image_sizes(path for paths in every.values() for path in paths), 32)
    return {split: np.concatenate(list(decode.decode_images(paths, square))) for split, paths in every.items()}


def written(root: Path, folder: Path, place: Path | None = None) -> dict[str, np.ndarray]:
    """What `download` writes of a tree."""
    result = {}
    for name, split in sources.folder(root, folders.scan(root)[0], max_side=32).items():
        split.write(folder / f"{name}.npy", StateFile(place, name))
        result[name] = np.load(folder / f"{name}.npy")
    return result


def same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(ours[split], theirs[split]) for split in folders.SPLITS)


@pytest.mark.parametrize("processes", [1, 2])
def test_however_many_processes_write_the_pixels_that_pillow_shows(images, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(decode, "processes", lambda _: processes)
    assert expected(images)["train"].shape == (144, 32, 32, 3)
    assert same(written(images, tmp_path), expected(images))


@pytest.mark.parametrize(("given", "most"), [("1", 1), ("3", 3), ("2,1", 2)])
def test_as_many_processes_as_openmp_may_have_threads_and_none_for_a_few_images(monkeypatch, given, most):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert decode.processes(10_000) == most
    assert decode.processes(2) == 1
    assert decode.processes(0) == 1


def test_without_a_word_there_is_a_process_for_each_core(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert decode.processes(10_000) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("count", [1, 2])
def test_work_comes_back_in_order_and_no_more_than_a_few_pieces_ahead_are_taken(count):
    taken = []
    results = decode.in_order(abs, (taken.append(n) or -n for n in range(40)), count)
    for number, result in enumerate(results):
        assert result == number
        assert len(taken) <= number + decode.AHEAD * count
    assert taken == list(range(40))


def test_a_process_that_is_ended_from_outside_is_told_in_one_line():
    with pytest.raises(UserError, match=r"a process that decodes images was killed.*; the same command goes"):
        list(decode.in_order(os._exit, range(1, 4), 2))


@pytest.mark.parametrize(("processes", "mended"), [(1, "replaced"), (1, "removed"), (2, "removed")])
def test_a_broken_file_is_named_and_costs_none_of_the_images_before_it(
    tmp_path, monkeypatch, capsys, processes, mended
):
    root = tree(tmp_path / "images", 80)
    monkeypatch.setattr(decode, "processes", lambda _: processes)
    broken = root / "train" / CLASSES[2] / f"{CLASSES[2]}_5.JPEG"
    row = list(folders.paths(root, folders.scan(root)[0], "train")).index(broken)
    good = broken.read_bytes()
    broken.write_bytes(good[:-40])
    with pytest.raises(UserError) as error:
        written(root, tmp_path, tmp_path)
    assert str(error.value).startswith(f"folder: {broken} cannot be read as an image")
    assert "\n" not in str(error.value)
    assert row > 160
    assert json.loads((tmp_path / "train.json").read_text())["rows"] == row // 64 * 64  # whole pieces of work
    if mended == "replaced":
        broken.write_bytes(good)
    else:
        broken.unlink()
    assert same(written(root, tmp_path / "raw", tmp_path), expected(root))
    assert f"train: resumed after {row // 64 * 64} of {240 - (mended == 'removed')} images" in capsys.readouterr().out


def test_an_image_that_changed_among_those_decoded_starts_from_the_beginning(tmp_path, capsys):
    root = tree(tmp_path / "images", 80)
    broken = root / "train" / CLASSES[2] / f"{CLASSES[2]}_5.JPEG"
    good = broken.read_bytes()
    broken.write_bytes(good[:-40])
    with pytest.raises(UserError):
        written(root, tmp_path, tmp_path)
    broken.write_bytes(good)
    shutil.copy(broken, root / "train" / CLASSES[0] / f"{CLASSES[0]}_3.JPEG")
    assert same(written(root, tmp_path / "raw", tmp_path), expected(root))
    assert "train: other images than before, so it starts from the beginning" in capsys.readouterr().out


MEMORY = """
import resource, sys
from pathlib import Path
from src.data import folders, sources
from src.storage.resume import StateFile
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
for name, split in sources.folder(root, folders.scan(root)[0], max_side=128).items():
    split.write(folder / f"{name}.npy", StateFile(folder, name))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, (folder / "train.npy").stat().st_size >> 20)
"""


def peak(folder: Path, copies: int) -> tuple[int, int]:
    """Megabytes that a process took at most to decode a class of so many files, and those that it wrote."""
    for split in ("train", "val"):
        (folder / "images" / split / "one").mkdir(parents=True)
    first = folder / "images" / "val" / "one" / "0.jpg"
    Image.new("RGB", (140, 128), "red").save(first)
    for number in range(copies):
        os.link(first, folder / "images" / "train" / "one" / f"{number}.jpg")
    command = [sys.executable, "-c", MEMORY, str(folder / "images"), str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    memory, wrote = map(int, done.stdout.split())
    return memory, wrote


def test_memory_does_not_grow_with_the_images(tmp_path):
    (few, little), (many, much) = peak(tmp_path / "few", 200), peak(tmp_path / "many", 1700)
    assert much - little > 60
    assert many - few < 15


DOWNLOAD = """
from src.data import decode
from src.settings.settings import load
from stages import download
decode.processes = lambda _: 2
download.main(load())
"""


@pytest.fixture(scope="module")
def clone(make_clone):
    """A clone with a tree of images, and what `download` made of it undisturbed."""
    clone = make_clone()
    tree(clone.folder / "images", 160, sides=(380, 400))
    clone.configure(dataset="folder", folder="images", classes=3, download={"max_side": 32})
    clone.stage("inputs")
    clone.stage("download")
    clone.expected = hashes(clone)
    return clone


def hashes(clone) -> dict[str, str]:
    return {path.name: files.sha256(path) for path in sorted((clone.folder / "data" / "raw").iterdir())}


def started(clone) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD],
        cwd=clone.folder,
        env={**os.environ, "PYTHONPATH": "", "RESUME_EVERY": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def noted(clone) -> list[str]:
    """What is noted of the images so far."""
    return [path.read_text() for path in (clone.folder / "data" / "resume").glob("*/train.json")]


def until_more_is_noted(clone, run: subprocess.Popen) -> None:
    before = noted(clone)
    while noted(clone) == before and run.poll() is None:
        time.sleep(0.005)


def test_a_tree_like_imagenet_is_read_with_val_for_testing(clone):
    assert clone.json("data/raw/classes.json") == list(CLASSES)
    labels = np.load(clone.folder / "data/raw/train_labels.npy")
    assert np.bincount(labels).tolist() == [160, 160, 160]
    assert np.load(clone.folder / "data/raw/test_images.npy").shape == (60, 32, 32, 3)
    clone.stage("prepare")
    assert "3 classes" in clone.stage("prepare")


@pytest.mark.slow
def test_decoding_killed_at_random_moments_gives_the_same_bytes(clone):
    shutil.rmtree(clone.folder / "data" / "raw")
    rng, resumed, kills, saved = random.Random(0), 0, 0, 0
    while True:
        run = started(clone)
        if kills < 4:
            until_more_is_noted(clone, run)
            time.sleep(rng.uniform(0, 0.4))
            children = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
            run.kill()
            assert not psutil.wait_procs(children, timeout=10)[1]
        said, _ = run.communicate()
        resumed += "resumed after" in said
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, said
        kills += 1
        saved += bool(noted(clone))  # a kill between the last image and the end leaves nothing to resume from
    assert hashes(clone) == clone.expected
    assert saved >= 2
    assert resumed == saved
    assert not list((clone.folder / "data" / "resume").glob("*"))


def test_ctrl_c_is_answered_by_one_line_and_the_same_command_goes_on(clone):
    run = started(clone)
    until_more_is_noted(clone, run)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate()
    assert run.returncode != 0
    assert "stopped by SIGINT after" in said
    assert "KeyboardInterrupt" not in said
    assert "train: resumed after" in clone.stage("download")
    assert hashes(clone) == clone.expected
