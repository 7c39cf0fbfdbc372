"""A dozen kills at random moments; `python -m tests.helpers.disturb` makes more, and full disks, which take minutes."""

import pytest

from tests.helpers import disturb

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["small", "queue"])
def test_killed_at_random_moments_the_same_command_ends_in_the_same_bytes(name, tmp_path):
    counts = disturb.kills(disturb.WORKS[name], 6, 0, tmp_path)
    assert counts["kills"] == 6
    assert counts["whole runs"] >= 1
    assert counts["tracebacks of stages"] == 0
