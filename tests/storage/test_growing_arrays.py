"""Arrays that grow row by row, and resume after an interruption or damage."""

import numpy as np
import pytest

from src.storage import files, resume
from tests.helpers.cut import CutError, CutShort


def blocks(skip: int = 0):
    """40 rows of 3, in blocks of 8; each says which row it is."""
    for start in range(skip, 40, 8):
        yield np.repeat(np.arange(start, start + 8, dtype=np.float32)[:, None], 3, axis=1)


class CutRows(CutShort):
    def note(self, about):
        super().note(about)
        self.left -= 1
        if self.left == 0:
            raise CutError


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_an_array_that_was_interrupted_ends_in_the_same_bytes(tmp_path, cut):
    files.write_array(tmp_path / "whole.npy", blocks(), (40, 3), "float32")
    place, started = CutRows(tmp_path, "rows"), []
    place.left = cut

    def compute(skip: int = 0):
        started.append(skip)
        return blocks(skip)

    with pytest.raises(CutError):
        resume.write_rows(tmp_path / "out.npy", place, (40, 3), compute)
    assert not (tmp_path / "out.npy").exists()
    with (tmp_path / "rows.npy").open("ab") as file:
        file.write(b"half a row that nobody noted")
    resume.write_rows(tmp_path / "out.npy", place, (40, 3), compute)
    assert started == [0, 8 * cut]
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_growing_array_that_was_damaged_starts_from_the_beginning(tmp_path, damage):
    place, path = CutRows(tmp_path, "rows"), tmp_path / "rows.npy"
    place.left = 3
    with pytest.raises(CutError):
        resume.write_rows(tmp_path / "out.npy", place, (40, 3), blocks)
    content = bytearray(path.read_bytes())
    content[150] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:200])
    resume.write_rows(tmp_path / "out.npy", place, (40, 3), blocks)
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.concatenate(list(blocks())))
