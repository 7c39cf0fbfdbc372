"""Arrays whose rows are written by whoever computes them: what is there is kept while it is made of the same."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from src.core.errors import UserError
from src.storage import resume
from src.storage.resume import StateFile

PIECE = 8


class Source:
    """Rows (3,) uint8 of what `names` says, in pieces of eight; a row of `bad` ends it, as a broken file does."""

    def __init__(self, names: list[int], bad: int | None = None):
        self.names, self.bad, self.started = names, bad, []
        self.shape = (len(names), 3)

    def compute(self, file: Path, offset: int, skip: int) -> Iterator[int]:
        self.started.append(skip)
        for start in range(skip, len(self.names), PIECE):
            piece = self.names[start : start + PIECE]
            if self.bad in piece:
                raise UserError("row cannot be read")
            with file.open("rb+") as target:
                target.seek(offset + 3 * start)
                target.write(np.repeat(np.array(piece, np.uint8), 3).tobytes())
            yield len(piece)

    def made_of(self, count: int) -> str:
        return str(self.names[:count])

    def fill(self, path: Path, state_file: StateFile) -> np.ndarray:
        resume.fill_rows(path, state_file, self.shape, self.compute, self.made_of)
        return np.load(path)

    def expected(self) -> np.ndarray:
        return np.repeat(np.array(self.names, np.uint8)[:, None], 3, axis=1)


@pytest.fixture
def state_file(tmp_path, monkeypatch) -> StateFile:
    """A state file that saves after every piece."""
    monkeypatch.setattr(resume, "SAVE_EVERY", 0.0)
    return StateFile(tmp_path, "rows")


NAMES = list(range(44))


def test_an_array_is_filled_with_or_without_a_state_file_to_the_same_bytes(tmp_path, state_file):
    source = Source(NAMES)
    assert np.array_equal(source.fill(tmp_path / "with.npy", state_file), source.expected())
    assert np.array_equal(source.fill(tmp_path / "without.npy", StateFile()), source.expected())
    assert (tmp_path / "with.npy").read_bytes() == (tmp_path / "without.npy").read_bytes()


@pytest.mark.parametrize("bad", [0, 20, 43])
def test_rows_before_one_that_cannot_be_read_are_kept(tmp_path, state_file, bad):
    with pytest.raises(UserError, match="row cannot be read"):
        Source(NAMES, bad).fill(tmp_path / "out.npy", state_file)
    assert not (tmp_path / "out.npy").exists()
    with (tmp_path / "rows.npy").open("ab") as file:
        file.write(b"what another process wrote further on")
    source = Source(NAMES)
    assert np.array_equal(source.fill(tmp_path / "out.npy", state_file), source.expected())
    assert source.started == [bad // PIECE * PIECE]


@pytest.mark.parametrize("others", [NAMES[:20] + NAMES[21:], [*NAMES[:20], 99, *NAMES[21:]], NAMES[:20] + [7] * 300])
def test_rows_are_kept_when_something_else_comes_after_them(tmp_path, state_file, others):
    with pytest.raises(UserError):
        Source(NAMES, bad=20).fill(tmp_path / "out.npy", state_file)
    source = Source(others)
    assert np.array_equal(source.fill(tmp_path / "out.npy", state_file), source.expected())
    assert source.started == [16]


@pytest.mark.parametrize("others", [NAMES[1:], [99, *NAMES[1:]], [*NAMES[:15], 99, *NAMES[16:]], NAMES[:10]])
def test_rows_that_were_made_of_something_else_are_not_kept(tmp_path, state_file, others, capsys):
    with pytest.raises(UserError):
        Source(NAMES, bad=20).fill(tmp_path / "out.npy", state_file)
    source = Source(others)
    assert np.array_equal(source.fill(tmp_path / "out.npy", state_file), source.expected())
    assert source.started == [0]
    assert "rows: other images than before, so it starts from the beginning" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_rows_that_were_damaged_are_not_kept(tmp_path, state_file, damage):
    with pytest.raises(UserError):
        Source(NAMES, bad=20).fill(tmp_path / "out.npy", state_file)
    path = tmp_path / "rows.npy"
    content = bytearray(path.read_bytes())
    content[140] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:150])
    source = Source(NAMES)
    assert np.array_equal(source.fill(tmp_path / "out.npy", state_file), source.expected())
    assert source.started == [0]


def test_who_asks_to_stop_is_told_how_far_it_is_and_loses_nothing(tmp_path, state_file):
    state_file.asked.append(2)
    with pytest.raises(UserError, match="stopped by SIGINT after 8 of 44 images; the same command goes on from here"):
        Source(NAMES).fill(tmp_path / "out.npy", state_file)
    state_file.asked.clear()
    source = Source(NAMES)
    source.fill(tmp_path / "out.npy", state_file)
    assert source.started == [8]


def test_a_full_disk_is_named_in_one_line(tmp_path, state_file):
    source = Source(NAMES)

    def full(*_: object) -> Iterator[int]:
        raise OSError(28, "No space left on device")

    source.compute = full
    with pytest.raises(UserError, match=r"rows.npy could not be written: No space left on device"):
        source.fill(tmp_path / "out.npy", state_file)
