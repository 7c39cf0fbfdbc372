"""Archives: unpacked inside of their folder and up to a size; everything else is refused."""

import io
import tarfile
from pathlib import Path

import pytest

from src.storage import fetch


def archive(path: Path, **changes: object) -> Path:
    """A compressed archive of a good member and one with other attributes."""
    with tarfile.open(path, "w:gz") as tar:
        for name, attributes in (("folder/good.txt", {}), ("folder/bad.txt", changes)):
            member = tarfile.TarInfo(name)
            member.size = 4
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def test_files_and_folders_are_unpacked(tmp_path):
    fetch.unpack(archive(tmp_path / "a.tar.gz"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/folder").iterdir()) == ["bad.txt", "good.txt"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../outside.txt"},
        {"name": "folder/../../outside.txt"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.SYMTYPE, "linkname": "good.txt"},
        {"type": tarfile.LNKTYPE, "linkname": "../../outside.txt"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_what_reaches_outside_or_is_no_file_is_refused(changes, tmp_path):
    (tmp_path / "outside.txt").write_text("the user's own")
    with pytest.raises(tarfile.TarError):
        fetch.unpack(archive(tmp_path / "a.tar.gz", **changes), tmp_path / "out" / "folder")
    assert (tmp_path / "outside.txt").read_text() == "the user's own"
    assert not (tmp_path / "out" / "outside.txt").exists()
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_an_absolute_name_stays_inside(tmp_path):
    outside = tmp_path / "outside.txt"
    fetch.unpack(archive(tmp_path / "a.tar.gz", name=str(outside)), tmp_path / "out")
    assert not outside.exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """A hundred megabytes of zeros in a hundred kilobytes."""
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 100_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    assert path.stat().st_size < 200_000
    with pytest.raises(tarfile.TarError, match="it holds more than 10,000,000 bytes"):
        fetch.unpack(path, tmp_path / "out", most=10_000_000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [10, 100])
def test_a_cut_archive_is_an_error(cut, tmp_path):
    path = archive(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises((tarfile.TarError, OSError, EOFError)):
        fetch.unpack(path, tmp_path / "out")
