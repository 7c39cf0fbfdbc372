"""How a program ends with an error that a user can correct."""

import errno
import os
from pathlib import Path

import pytest

from src.core.errors import UserError, one_line
from src.storage import files

ROOM = "; `make doctor` compares the room with what a run needs"


def end_of(raised: Exception) -> str:
    with pytest.raises(SystemExit) as ended, one_line():
        raise raised
    return str(ended.value.code)


@pytest.mark.parametrize(
    ("number", "end"), [(errno.ENOSPC, ROOM), (errno.EDQUOT, ROOM), (errno.EACCES, ""), (errno.EROFS, "")]
)
def test_a_full_disk_points_to_the_doctor_and_another_fault_of_it_does_not(tmp_path, number, end):
    error = OSError(number, os.strerror(number), "file")
    assert end_of(error) == f"error: file could not be written: {os.strerror(number)}{end}"

    def write(path: Path) -> None:
        with files.replacing(path):
            raise error

    with pytest.raises(UserError) as caught:
        write(tmp_path / "artefact")
    assert end_of(caught.value) == f"error: {tmp_path}/artefact could not be written: {os.strerror(number)}{end}"


def test_a_mistake_of_a_user_is_its_line_alone():
    assert end_of(UserError("classes = 1: allowed is more")) == "error: classes = 1: allowed is more"
