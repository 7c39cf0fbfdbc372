"""Artefacts that were damaged, and disks that take no more: one line, the last good outputs stay, and DVC repairs."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from src import mend
from src.storage import files
from tests.helpers.dvc_cache import damaged, md5

# Of each damaged file, the stage that reads it. test_intact has every kind of file and damage.
READERS = {
    "data/checkpoints/resnet/seed0/full.safetensors": "eval_resnet",
    "data/features/convnext/train.npy": "eval_convnext",
    "data/predictions/convnext/seed0/linear.npz": "compare",
}
# Root may write where nobody may; without these two capabilities it may not either.
NOBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@pytest.fixture(scope="module")
def clone(smallest, copy_of):
    return copy_of(smallest)


# Of data/raw, see also storage/test_raw.
RAW_READERS = {
    "train_images.npy": "finetune_resnet",
    "test_images.npy": "eval_resnet",
    "train_images.crc32.npy": "embed_convnext",
    "test_images.crc32.npy": "report",
    "train_labels.npy": "prepare",
    "test_labels.npy": "prepare",
    "classes.json": "prepare",
    "duplicates.json": "compare",
    "SHA256SUMS": "prepare",
}


def flip(path: Path, place: int | None = None) -> None:
    """One bit of a file, in its middle if no place is given, in a new file of the same mode and size."""
    content, mode = bytearray(path.read_bytes()), path.stat().st_mode
    content[len(content) // 2 if place is None else place] ^= 1
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def outputs(clone, stage: str) -> dict[Path, bytes]:
    """What a stage leaves, file by file."""
    entry = yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"][stage]
    names = [out if isinstance(out, str) else next(iter(out)) for out in entry["outs"] + entry.get("metrics", [])]
    paths = [path for name in names for path in [clone.folder / name, *(clone.folder / name).rglob("*")]]
    return {path: path.read_bytes() for path in paths if path.is_file()}


def cached(clone, path: str) -> Path:
    """The file of DVC's cache that holds the same bytes as one of the working tree."""
    digest = md5(clone.folder / path)
    return clone.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def is_one_line(output: str) -> bool:
    """An error, after the line that a stage may begin with: how much of the work is done."""
    lines = [line for line in output.splitlines() if not line.startswith("stage ")]
    return len(lines) == 1 and lines[0].startswith("error: ")


def test_a_flipped_bit_is_noticed_by_the_reader_and_repaired_by_repro(clone):
    for path, stage in READERS.items():
        before = outputs(clone, stage)
        flip(clone.folder / path)
        output = clone.stage(stage, fails=True)
        assert is_one_line(output), output
        assert str(Path(path).parent) in output
        assert "`dvc repro` makes it again" in output
        assert outputs(clone, stage) == before
    cut(clone.folder / "data/raw/train_images.npy")
    before = clone.hashes()
    repaired = clone.dvc("repro")
    assert repaired.count("is cached - skipping run, checking out outputs") == len(READERS) + 1
    assert clone.hashes() == before
    assert all(cached(clone, path).exists() for path in READERS)
    assert clone.git("status", "--short") == ""


def test_a_flipped_bit_of_data_raw_is_noticed_by_the_reader_and_repaired_by_the_command_that_it_names(clone):
    """Of an image that the experiment reads; what it does not read cannot change it."""
    raw, before = clone.folder / "data" / "raw", clone.hashes()
    assert {path.name for path in raw.iterdir()} == set(RAW_READERS)
    for name, stage in RAW_READERS.items():
        place = None
        if name.endswith("_images.npy"):
            split = name.split("_")[0]
            images = np.load(raw / name, mmap_mode="r")
            image = np.load(clone.folder / "data/subset/seed0.npz")[f"{split}_index"][0]
            place = images.offset + int(image) * images[0].nbytes
        whole = (raw / name).read_bytes()
        flip(raw / name, place)
        output = clone.stage(stage, fails=True)
        assert is_one_line(output), output
        assert "data/raw" in output
        if name != files.SUMS:  # a wrong hash in it is that of another file
            assert name.removesuffix(".crc32.npy") in output
        assert "`dvc repro -f -s download` makes it again" in output
        (raw / name).unlink()
        (raw / name).write_bytes(whole)
    flip(raw / "train_images.npy")
    clone.dvc("repro", "-f", "-s", "download")
    assert clone.hashes() == before


def test_damage_in_the_cache_is_noticed_and_repaired_without_the_cache(clone, copy_of):
    """One file of the cache is damaged, and one is gone; the working tree has lost both."""
    path, gone = "data/checkpoints/resnet/seed0/full.safetensors", "data/features/convnext/head.npz"
    clone = copy_of(clone)
    before = clone.hashes()
    flip(cached(clone, path))
    (clone.folder / path).unlink()
    clone.dvc("checkout", "data/checkpoints/resnet")  # DVC believes its cache
    assert "`rm -r .dvc/cache`" in clone.stage("eval_resnet", fails=True)
    shutil.rmtree(clone.folder / ".dvc/cache")
    (clone.folder / path).unlink()
    (clone.folder / gone).unlink()
    said = clone.dvc("repro")
    assert "Running stage 'finetune_resnet'" in said
    assert "Running stage 'embed_convnext'" in said
    assert clone.hashes() == before
    assert list(damaged(clone.folder / ".dvc/cache/files/md5")) == []


def runs(said: str) -> list[str]:
    return [name for name in re.findall(r"Running stage '(.*)'", said) if not name.endswith("inputs")]


def test_a_lock_that_was_cut_at_any_byte_is_mended_from_the_commit_and_nothing_runs(clone, copy_of):
    torn = copy_of(clone)
    lock = torn.folder / "dvc.lock"
    whole = torn.git("show", "HEAD:dvc.lock")
    for end in range(0, len(whole), 50):
        mended, _ = mend.mended_lock(whole[:end], whole) or (whole[:end], "")
        assert mended == whole or mended == whole[:end].rstrip(" "), end
    for end in (0, len(whole) // 2, len(whole) - 5):
        lock.write_text(whole[:end])
        if end == 0:
            assert "'./dvc.lock' validation failed" in torn.dvc("repro", fails=True)
        assert torn.module("src.mend").startswith("dvc.lock was half written; mended: ")
        assert runs(torn.dvc("repro")) == []
        assert lock.read_text() == whole
        assert torn.git("status", "--short") == ""


def test_of_a_lock_that_no_commit_has_the_cache_of_runs_brings_back_the_rest(clone, copy_of):
    torn = copy_of(clone)
    torn.git("rm", "-q", "--cached", "dvc.lock", "data/dvc.lock")
    torn.git("commit", "-q", "-m", "without locks")
    before = torn.hashes()
    for name in ("dvc.lock", "data/dvc.lock"):
        whole = (torn.folder / name).read_text()
        (torn.folder / name).write_text(whole[: len(whole) // 2])
    assert len(torn.module("src.mend").splitlines()) == 2
    said = torn.dvc("repro")
    assert runs(said) == []
    assert "is cached - skipping run" in said
    assert torn.hashes() == before


def test_settings_and_metrics_that_were_cut_come_back(clone, copy_of):
    torn = copy_of(clone)
    for name in ("params.yaml", "metrics/compare.json"):
        path = torn.folder / name
        path.write_text(path.read_text()[: path.stat().st_size // 2])
    assert torn.module("src.mend").startswith("params.yaml was half written; mended: ")
    assert runs(torn.dvc("repro")) == []
    assert torn.git("status", "--short") == ""


@pytest.mark.parametrize(
    ("stage", "blocks", "name"),
    [
        ("embed_convnext", 20, "data/features/convnext/train.npy"),
        ("finetune_resnet", 2000, "data/checkpoints/resnet/seed0/full.safetensors"),
        ("finetune_resnet", 20, "DVC's database"),
        ("eval_convnext", 20, "data/predictions/convnext/seed0/affine/linear.npz"),
    ],
)
def test_a_disk_that_takes_no_more_costs_one_line_and_no_output(clone, stage, blocks, name):
    """The limit is on the size of one file, in blocks of 1,024 bytes."""
    before = outputs(clone, stage)
    output = clone.run("bash", "-c", f"ulimit -f {blocks}; exec {' '.join(clone.command(stage))}", fails=True)
    last = output.splitlines()[-1]
    assert re.search(f"^error: {name}.* could not be written: .*(File too large|disk I/O error)", last), output
    assert "Traceback" not in output
    after = outputs(clone, stage)
    assert not any(path.name.startswith(".") for path in after)
    drawn = clone.folder / "plots" / stage  # the curves, which grow as a training goes, and are gone when it starts
    assert {path for path in before if not path.is_relative_to(drawn)} <= set(after)
    assert all(content == before[path] for path, content in after.items() if not path.is_relative_to(drawn))


@pytest.mark.parametrize(
    ("folder", "stage"),
    [("data/features/convnext", "embed_convnext"), ("plots/compare", "compare"), ("metrics", "eval_convnext")],
)
def test_a_folder_that_may_not_be_written_costs_one_line_and_no_output(clone, folder, stage):
    before = outputs(clone, stage)
    (clone.folder / folder).chmod(0o555)
    try:
        output = clone.run(*NOBODY, *clone.command(stage), fails=True)
    finally:
        (clone.folder / folder).chmod(0o755)
    assert "could not be written: Permission denied" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert outputs(clone, stage) == before
