"""Image folders: what is there, and whether it changed."""

import os
from pathlib import Path

import pytest
from PIL import Image

from src import folders
from src.errors import UserError


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes, one image of each in each split."""
    for split in folders.SPLITS:
        for name, colour in (("dog", "red"), ("cat", "blue")):
            path = tmp_path / "images" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (10, 8), colour).save(path)
    return tmp_path / "images"


def test_classes_are_in_sorted_order(root):
    assert folders.class_names(root) == ["cat", "dog"]


def test_hidden_files_and_loose_ones_are_no_classes_and_no_images(root):
    (root / "train" / ".cache").mkdir()
    (root / "train" / "readme.txt").write_text("loose")
    (root / "train" / "cat" / ".DS_Store").write_text("hidden")
    listing, _ = folders.scan(root)
    assert listing == {split: {"cat": ["1.png"], "dog": ["1.png"]} for split in ("train", "test")}


def test_files_are_listed_class_by_class_in_sorted_order(root):
    for name in ("b.png", "a.png", "10.png"):
        Image.new("RGB", (10, 8)).save(root / "train" / "dog" / name)
    listing, _ = folders.scan(root)
    found = [path.relative_to(root).as_posix() for path in folders.paths(root, listing, "train")]
    assert found == [f"train/{name}" for name in ("cat/1.png", "dog/1.png", "dog/10.png", "dog/a.png", "dog/b.png")]


def test_a_folder_without_both_splits_is_refused(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match=r"there is no test/ in it; allowed is a root of train/<class>/\*"):
        folders.class_names(tmp_path)


def test_splits_with_different_classes_are_refused_with_what_differs(root):
    (root / "train" / "bird").mkdir()
    with pytest.raises(UserError, match=r"train and test hold different classes \('bird'\)"):
        folders.class_names(root)


def test_a_class_without_images_is_refused_by_name(root):
    (root / "test" / "cat" / "1.png").unlink()
    with pytest.raises(UserError, match=r"class 'cat' has no images in test/; add some, or remove the class"):
        folders.scan(root)


def digest(root: Path) -> str:
    return folders.digest(root, *folders.scan(root), root.parent / "remembered.json")


def rewrite(path: Path, content: bytes, *, later: int) -> None:
    """Give a file another content, and a time of change so many nanoseconds later than before."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + later))


def test_the_digest_changes_when_the_bytes_of_a_file_change(root):
    before, path = digest(root), root / "test" / "dog" / "1.png"
    rewrite(path, path.read_bytes()[::-1], later=1)
    assert digest(root) != before


def test_the_digest_stays_when_only_the_time_of_a_file_changes(root):
    before, path = digest(root), root / "test" / "dog" / "1.png"
    rewrite(path, path.read_bytes(), later=10**9)
    assert digest(root) == before


def test_the_digest_is_remembered_while_names_sizes_and_times_are_the_same(root):
    before, memory = digest(root), root.parent / "remembered.json"
    memory.write_text(memory.read_text().replace(before, "not read again"))
    assert digest(root) == "not read again"


def test_bytes_changed_under_the_old_time_of_modification_are_noticed(root):
    """As when an archive is unpacked over the folder."""
    before, path = digest(root), root / "test" / "dog" / "1.png"
    rewrite(path, path.read_bytes()[::-1], later=0)
    assert digest(root) != before


def test_a_file_name_that_is_not_utf_8_is_refused(root):
    (root / "test" / "dog" / os.fsdecode(b"\xe9.png")).touch()
    with pytest.raises(UserError, match=r"udce9.*is not UTF-8; rename it"):
        digest(root)


def test_the_digest_does_not_depend_on_where_the_folder_stands(root, tmp_path):
    before = digest(root)
    (tmp_path / "elsewhere").mkdir()
    assert digest(root.rename(tmp_path / "elsewhere" / "images")) == before


def test_a_memory_that_was_cut_short_is_forgotten(root):
    before = digest(root)
    (root.parent / "remembered.json").write_text('{"signature": "12')
    assert digest(root) == before
