"""Image folders: their files are listed, and changes are detected."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from src.core.errors import UserError
from src.data import folders
from src.storage import files


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
    result = [path.relative_to(root).as_posix() for path in folders.paths(root, listing, "train")]
    assert result == [f"train/{name}" for name in ("cat/1.png", "dog/1.png", "dog/10.png", "dog/a.png", "dog/b.png")]


def test_a_folder_without_both_splits_is_refused(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match=r"there is no test/ in it; allowed is a root of train/<class>/\*"):
        folders.class_names(tmp_path)


def test_splits_with_different_classes_are_refused_with_what_differs(root):
    (root / "train" / "bird").mkdir()
    with pytest.raises(UserError, match=r"train and test hold different classes \('bird'\)"):
        folders.class_names(root)


def test_val_stands_for_test_where_there_is_no_test(root):
    before, listing = digest(root), folders.scan(root)[0]
    (root / "test").rename(root / "val")
    assert folders.class_names(root) == ["cat", "dog"]
    assert folders.scan(root)[0] == listing
    assert digest(root) == before
    assert list(folders.paths(root, listing, "test")) == [root / "val" / name / "1.png" for name in ("cat", "dog")]


def test_val_beside_test_is_left_alone(root):
    before = digest(root)
    (root / "val" / "bird").mkdir(parents=True)
    assert digest(root) == before


def test_what_is_wrong_in_val_is_said_of_val(root):
    (root / "test").rename(root / "val")
    (root / "val" / "cat" / "1.png").unlink()
    with pytest.raises(UserError, match=r"class 'cat' has no images in val/; add some"):
        folders.scan(root)
    (root / "val" / "cat").rmdir()
    with pytest.raises(UserError, match=r"train and val hold different classes \('cat'\)"):
        folders.scan(root)


def test_images_at_any_depth_are_of_the_class_of_the_first_folder(root):
    nested = root / "train" / "cat" / "images"
    (nested / "more").mkdir(parents=True)
    (nested / ".cache").mkdir()
    for path in ("2.png", "more/3.png", ".cache/4.png"):
        Image.new("RGB", (10, 8)).save(nested / path)
    (nested / "loop").symlink_to(root / "train")
    before, listing = digest(root), folders.scan(root)[0]
    assert listing["train"]["cat"] == ["1.png", "images/2.png", "images/more/3.png"]
    assert all(path.is_file() for path in folders.paths(root, listing, "train"))
    rewrite(nested / "more" / "3.png", b"other bytes", later=1)
    assert digest(root) != before


def test_a_class_may_be_a_link_to_a_folder_elsewhere(root, tmp_path):
    """So that a tree of links chooses what is decoded of a larger one."""
    for split in folders.SPLITS:
        (tmp_path / "few" / split).mkdir(parents=True)
        (tmp_path / "few" / split / "dog").symlink_to(root / split / "dog")
    assert folders.scan(tmp_path / "few")[0] == {split: {"dog": ["1.png"]} for split in folders.SPLITS}


def test_every_file_is_looked_at_once(root, monkeypatch):
    seen, real = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: seen.append(str(path)) or real(path))
    folders.scan(root)
    classes = [f"{root}/{split}/{name}" for split in folders.SPLITS for name in ("cat", "dog")]
    assert sorted(path for path in seen if Path(path).parent.name in folders.SPLITS) == sorted(classes)


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


def test_the_digest_is_remembered_while_names_sizes_and_times_are_the_same(root, monkeypatch):
    before = digest(root)
    monkeypatch.setattr(folders, "sha256", None)
    assert digest(root) == before


def test_only_the_classes_in_which_something_changed_are_read_again(root, monkeypatch):
    read = []
    monkeypatch.setattr(folders, "sha256", lambda path: read.append(path) or files.sha256(path))
    before = digest(root)
    assert len(read) == 4
    read.clear()
    shutil.copy(root / "train" / "dog" / "1.png", root / "train" / "dog" / "2.png")
    assert digest(root) != before
    assert read == [root / "train" / "dog" / "1.png", root / "train" / "dog" / "2.png"]
    (root / "train" / "dog" / "2.png").unlink()
    assert digest(root) == before


def test_what_was_read_before_a_file_that_cannot_be_is_not_read_again(root, monkeypatch):
    read = []

    def fails_at_third(path: Path) -> str:
        read.append(path)
        if len(read) == 3:
            raise PermissionError(13, "Permission denied", str(path))
        return files.sha256(path)

    monkeypatch.setattr(folders, "sha256", fails_at_third)
    with pytest.raises(UserError, match=r"folder: .*test/cat/1.png cannot be read \(Permission denied\)"):
        digest(root)
    again = digest(root)
    assert [path.relative_to(root).as_posix() for path in read[3:]] == ["test/cat/1.png", "test/dog/1.png"]
    monkeypatch.undo()
    (root.parent / "remembered.json").unlink()
    assert digest(root) == again


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
