"""A dozen kills and a dozen full disks at random moments; `python -m tests.helpers.disturb` makes more."""

import subprocess

import pytest

from tests.helpers import disturb

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["small", "queue"])
def test_killed_at_random_moments_the_same_command_ends_in_the_same_bytes(name, tmp_path):
    counts = disturb.kills(disturb.WORKS[name], 6, 0, tmp_path)
    assert counts["kills"] == 6
    assert counts["whole runs"] >= 1
    assert counts["tracebacks of stages"] == 0


def test_on_a_full_disk_the_same_command_ends_in_the_same_bytes_once_there_is_room(tmp_path):
    try:
        with disturb.mounted(tmp_path / "disk"):
            pass
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    counts = disturb.disks(disturb.WORKS["small"], 12, 0, tmp_path)
    assert counts["full disks"] == 12
    assert counts["tracebacks of stages"] == 0
