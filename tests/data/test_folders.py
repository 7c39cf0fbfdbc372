"""Image folders: their files are listed, and changes are detected."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from src.core.errors import UserError
from src.data import folders
from src.storage import files

ONE_EACH = {split: {"cat": ["1.png"], "dog": ["1.png"]} for split in ("train", "test")}


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


def test_hidden_files_and_loose_ones_are_no_classes_and_no_images(root, capsys):
    (root / "train" / ".cache").mkdir()
    (root / "train" / "readme.txt").write_text("loose")
    (root / "train" / "cat" / ".DS_Store").write_text("hidden")
    listing, _ = folders.scan(root)
    assert listing == ONE_EACH
    assert capsys.readouterr().out == ("folder: files outside of any class, which are left out: 1 (train/readme.txt)\n")


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "#recycle", "$RECYCLE.BIN", "lost+found", "@Recycle"]
)
def test_what_systems_leave_is_no_class_and_holds_no_images(root, name):
    for place in (root / "train", root / "test" / "dog"):
        (place / name).mkdir()
        (place / name / "1.png").write_text("no image")
    (root / "test" / "cat" / "Thumbs.db").write_text("no image")
    (root / "test" / "cat" / "1.png@SynoEAStream").write_text("no image")
    assert folders.scan(root)[0] == ONE_EACH


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
    with pytest.raises(UserError, match=r"train and test hold different classes \('bird' in train/ alone\)"):
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
    with pytest.raises(UserError, match=r"train and val hold different classes \('cat' in train/ alone\)"):
        folders.scan(root)


def test_images_at_any_depth_are_of_the_class_of_the_first_folder(root):
    nested = root / "train" / "cat" / "images"
    (nested / "more").mkdir(parents=True)
    (nested / ".cache").mkdir()
    for path in ("2.png", "more/3.png", ".cache/4.png"):
        Image.new("RGB", (10, 8)).save(nested / path)
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


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as error:
        folders.scan(root)
    assert "\n" not in str(error.value)
    assert "written" not in str(error.value)
    return str(error.value)


def test_a_linked_folder_within_a_class_is_read_and_named(root, tmp_path, capsys):
    shutil.copytree(root / "train" / "dog", tmp_path / "elsewhere")
    (root / "train" / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    assert folders.scan(root)[0]["train"]["dog"] == ["1.png", "more/1.png"]
    link = root / "train" / "dog" / "more"
    said = f"folder: folders within classes that are links, whose images are taken too: 1 ({link})\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("name", ["train", "train/cat", "train/cat/nested"])
def test_a_link_to_a_folder_that_holds_it_is_refused(root, name):
    (root / "train" / "cat" / "nested").mkdir()
    link = root / "train" / "cat" / "nested" / "loop"
    link.symlink_to(root / name)
    assert refusal(root) == f"folder: {link} is a link to a folder that holds it; remove it"


@pytest.mark.parametrize("place", ["train", "train/cat", "test/dog"])
@pytest.mark.parametrize(
    ("target", "reason"), [("/not/mounted/2.png", "No such file"), ("2.png", "Too many levels of symbolic links")]
)
def test_a_link_whose_target_is_gone_or_itself_is_named(root, place, target, reason):
    link = root / place / "2.png"
    link.symlink_to(target)
    assert refusal(root).startswith(f"folder: {link} is a link to {target}, which cannot be read ({reason}")


def test_what_is_neither_a_file_nor_a_folder_is_named(root):
    os.mkfifo(root / "train" / "cat" / "2.png")
    assert refusal(root) == f"folder: {root}/train/cat/2.png is neither a file nor a folder; remove it"


@pytest.mark.parametrize("name", ["train", "test/dog", "train/cat/nested"])
def test_a_folder_that_may_not_be_read_is_named(root, name, monkeypatch):
    (root / "train" / "cat" / "nested").mkdir()
    real = os.scandir

    def forbidden(path: str) -> object:
        if str(path) == str(root / name):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert refusal(root) == f"folder: {root / name} cannot be read (Permission denied)"


def test_a_flat_test_folder_is_told_to_have_no_labels(root):
    """ImageNet as it is published: train/<class>/, val/<class>/ and test/ without classes."""
    (root / "test").rename(root / "val")
    (root / "test").mkdir()
    shutil.copy(root / "val" / "cat" / "1.png", root / "test" / "1.png")
    said = "test/ holds 1 file and no folder of a class, so that its images have no labels; allowed is test/<class>/*"
    assert refusal(root) == f"folder = {root}: {said}; move it away, and val/ is used"
    shutil.rmtree(root / "val")
    assert refusal(root) == f"folder = {root}: {said}"
    (root / "train").rename(root / "old")
    (root / "train").mkdir()
    assert "train/ holds no folder of a class" in refusal(root)


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("other", [DECOMPOSED, f"{COMPOSED} ", "caf\u200b\u00e9"])
def test_classes_that_look_alike_are_refused_with_what_they_are_made_of(root, other):
    for split in folders.SPLITS:
        shutil.copytree(root / split / "cat", root / split / COMPOSED)
        shutil.copytree(root / split / "cat", root / split / other)
    pair = " and ".join(ascii(name) for name in sorted([COMPOSED, other]))
    assert refusal(root) == f"folder = {root}: the classes {pair} of train/ look alike; rename one"
    shutil.rmtree(root / "train" / other)
    shutil.rmtree(root / "test" / COMPOSED)
    assert refusal(root) == (
        f"folder = {root}: class {COMPOSED!a} of train/ and {other!a} of test/ look alike, but are of other "
        "characters; rename one of the two"
    )


def test_names_that_a_person_tells_apart_are_two_classes(root):
    names = ["cat", "dog", "Cat", "c\u00e4t", "H2O", "H\u2082O", "\U0001f469\u200d\U0001f467", "\U0001f469\U0001f467"]
    for split, name in ((split, name) for split in folders.SPLITS for name in names[2:]):
        shutil.copytree(root / split / "cat", root / split / name)
    assert folders.class_names(root) == sorted(names)


@pytest.mark.parametrize("name", ["", "dog"])
def test_one_folder_for_training_and_testing_is_refused(root, name):
    shutil.rmtree(root / "test" / name)
    (root / "test" / name).symlink_to(root / "train" / name)
    assert f"train/{name} and test/{name} are one folder; test images must be others" in refusal(root)


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
