"""Errors that a user can correct: one line, whatever they hold, and nothing else is taken for one."""

import errno
import os
from pathlib import Path

import pytest
import torch

from src.core.errors import UserError, is_out_of_memory, one_line
from src.storage import files

ROOM = "; `make doctor` compares the room with what a run needs"


def line(error: Exception) -> str:
    with pytest.raises(SystemExit) as left, one_line():
        raise error
    return str(left.value)


def test_a_name_with_a_line_break_stays_on_one_line():
    assert line(UserError("folder: a\nb cannot be read")) == "error: folder: a\\nb cannot be read"


LACKS = [
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    RuntimeError("could not create a primitive"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", LACKS, ids=str)
def test_too_little_memory_is_one_line_whatever_says_it(error):
    assert is_out_of_memory(error)
    assert line(error).startswith("error: out of memory; try a smaller image_size")


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), OSError(5, "I/O"), KeyError("memory")])
def test_another_error_is_no_lack_of_memory(error):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)), one_line():
        raise error


@pytest.mark.parametrize(
    ("number", "end"), [(errno.ENOSPC, ROOM), (errno.EDQUOT, ROOM), (errno.EACCES, ""), (errno.EROFS, "")]
)
def test_a_full_disk_points_to_the_doctor_and_another_fault_of_it_does_not(tmp_path, number, end):
    error = OSError(number, os.strerror(number), "file")
    assert line(error) == f"error: file could not be written: {os.strerror(number)}{end}"

    def write(path: Path) -> None:
        with files.replacing(path):
            raise error

    with pytest.raises(UserError) as caught:
        write(tmp_path / "artefact")
    assert line(caught.value) == f"error: {tmp_path}/artefact could not be written: {os.strerror(number)}{end}"


def test_a_mistake_of_a_user_is_its_line_alone():
    assert line(UserError("classes = 1: allowed is more")) == "error: classes = 1: allowed is more"
