"""Rows that experiments share: found by their source alone, never damaged, and kept wherever the disk lets them."""

import os
import sqlite3
from pathlib import Path

import pytest

from src.storage import resume, rows
from src.storage.rows import Row, RowStore

SOURCES = [bytes([number]) * 32 for number in range(1, 41)]
ROWS = {source: Row(source * 20, source[0] / 10, source[0]) for source in SOURCES}


@pytest.fixture
def path(tmp_path) -> Path:
    """A file with all rows."""
    path = tmp_path / "cache" / "features" / "key.sqlite"
    added(RowStore(path)).release()
    return path


def added(store: RowStore) -> RowStore:
    for source, row in ROWS.items():
        store.add(source, row)
    return store


def test_rows_are_there_for_whoever_opens_the_file_once_they_were_written(tmp_path):
    first, second = (RowStore(tmp_path / "key.sqlite") for _ in range(2))
    added(first)
    assert first.read(SOURCES) == ROWS
    assert second.read(SOURCES) == {}
    first.flush()
    assert second.read([*SOURCES[:3], b"?" * 32]) == {source: ROWS[source] for source in SOURCES[:3]}
    assert RowStore(tmp_path / "other.sqlite").read(SOURCES) == {}


def test_rows_without_a_file_are_there_for_one_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = added(RowStore(None))
    assert store.acquire(0)
    store.release()
    assert store.read(SOURCES) == ROWS
    assert RowStore(None).read(SOURCES) == {}
    assert list(tmp_path.iterdir()) == []


def test_it_is_time_to_write_some_seconds_after_the_last_time_or_when_many_rows_wait(monkeypatch):
    store = added(RowStore(None))
    assert not store.due()
    with monkeypatch.context() as patch:
        patch.setattr(rows, "MOST", len(ROWS))
        assert store.due()
        store.flush()
        assert not store.due()
    monkeypatch.setattr(resume, "SAVE_EVERY", 0.0)
    assert store.due()


@pytest.mark.parametrize("change", ["row", "source", "type", "cut"])
def test_a_row_that_was_damaged_is_left_out_and_written_anew(path, change):
    with sqlite3.connect(path) as connection:
        (packed,) = connection.execute("SELECT row FROM rows WHERE source = ?", SOURCES[:1]).fetchone()
        other = {"row": packed[:-1] + bytes([packed[-1] ^ 1]), "type": 7, "cut": packed[:10]}
        if change == "source":  # a row of other bytes
            connection.execute("DELETE FROM rows WHERE source = ?", (SOURCES[0],))
            connection.execute("UPDATE rows SET source = ? WHERE source = ?", SOURCES[:2])
        else:
            connection.execute("UPDATE rows SET row = ? WHERE source = ?", (other[change], SOURCES[0]))
    connection.close()
    store = RowStore(path)
    lost = set(SOURCES[:2] if change == "source" else SOURCES[:1])
    assert store.read(SOURCES) == {source: row for source, row in ROWS.items() if source not in lost}
    added(store).release()
    assert RowStore(path).read(SOURCES) == ROWS


@pytest.mark.parametrize("start", range(0, 40_000, 1999))
def test_no_flipped_bit_of_the_file_gives_another_row(path, start):
    content = bytearray(path.read_bytes())
    content[start % len(content)] ^= 16
    path.write_bytes(content)
    store = RowStore(path)
    assert store.read(SOURCES).items() <= ROWS.items()
    added(store)
    assert store.read(SOURCES) == ROWS
    for _ in range(2):  # the first may find that the file is to be made anew
        store.flush()
    store.release()
    assert RowStore(path).read(SOURCES) == ROWS


@pytest.mark.parametrize("content", [b"no database" * 1000, None])
def test_a_file_that_is_none_of_sqlite_starts_anew(path, content, capsys):
    path.write_bytes(content or path.read_bytes()[:5000])
    store = RowStore(path)
    assert store.read(SOURCES) == {}
    assert "key.sqlite: damaged (" in capsys.readouterr().out
    added(store).release()
    assert RowStore(path).read(SOURCES) == ROWS


def test_on_a_full_disk_rows_stay_in_memory_and_a_line_says_so(path, capsys):
    more = {bytes([number]) * 32: Row(bytes(4000), 0.1, 1) for number in range(100, 120)}
    store = RowStore(path)
    store.connection.execute("PRAGMA max_page_count = 1")
    for source, row in more.items():
        store.add(source, row)
        store.flush()
    assert capsys.readouterr().out.count("database or disk is full; so other experiments do not get what") == 1
    assert store.read([*SOURCES, *more]) == ROWS | more
    store.release()
    assert RowStore(path).read([*SOURCES, *more]) == ROWS


def test_where_no_file_may_be_rows_stay_in_this_process_and_a_line_says_so(tmp_path, capsys):
    (tmp_path / "cache").touch()
    store = RowStore(tmp_path / "cache" / "key.sqlite")
    assert capsys.readouterr().out.count("so other experiments do not get what is embedded here") == 1
    assert store.acquire(0)
    added(store).release()
    assert store.read(SOURCES) == ROWS


def test_one_that_was_deleted_meanwhile_goes_on_and_the_next_is_empty(path, capsys):
    store = RowStore(path)
    path.unlink()
    assert store.read(SOURCES) == ROWS
    store.add(b"?" * 32, Row(b"1234", 0.1, 1))
    store.release()
    assert store.read([b"?" * 32])
    assert capsys.readouterr().out.count("other experiments do not get") == 1
    assert RowStore(path).read(SOURCES) == {}


def test_one_process_at_a_time_adds_rows(path):
    first, second = RowStore(path), RowStore(path)
    assert first.acquire(0)
    assert not second.acquire(0)
    assert not second.acquire(0.1)
    assert second.read(SOURCES) == ROWS
    first.release()
    assert second.acquire(0)
    second.release()


@pytest.mark.parametrize("inside", [True, False])
def test_the_folder_is_in_the_cache_of_the_users_repository(tmp_path, monkeypatch, inside):
    """Also from the copy in which DVC runs a temporary experiment."""
    home = tmp_path / "repository"
    monkeypatch.delenv("SWEEP_ROOT", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(home))
    copy = home / ".dvc" / "tmp" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    if inside:
        monkeypatch.chdir(home)
        monkeypatch.delenv("DVC_ROOT")
    assert rows.folder() == home / ".dvc" / "cache" / "features"
    (home / ".dvc" / "config").write_text("[cache]\n    dir = ../../shared\n")
    assert os.path.normpath(rows.folder()) == str(tmp_path / "shared" / "features")
    (home / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {tmp_path}/own\n")
    assert rows.folder() == tmp_path / "own" / "features"
