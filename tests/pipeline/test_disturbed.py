"""A dozen kills and a dozen full disks at random moments; `python -m tests.helpers.disturb` makes any number."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import disturb

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["small", "queue"])
def test_killed_at_random_moments_the_same_command_ends_in_the_same_bytes(name, tmp_path):
    counts = disturb.kills(disturb.WORKS[name], 6, 0, tmp_path)
    assert counts["kills"] == 6
    assert counts["whole runs"] >= 1
    assert counts["tracebacks of stages"] == 0


def mounts(folder: Path) -> bool:
    """Whether a file system may be mounted here."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        return False
    return subprocess.run(["umount", folder]).returncode == 0


def test_on_a_full_disk_the_same_command_ends_in_the_same_bytes_once_there_is_room(tmp_path):
    if not mounts(tmp_path):
        pytest.skip("no file system of a given size can be mounted here")
    counts = disturb.disks(disturb.WORKS["small"], 12, 0, tmp_path)
    assert counts["full disks"] == 12
    assert counts["tracebacks of stages"] == 0
