"""Outputs of other revisions, where DVC's cache lacks them."""

import pytest

from src.core.errors import UserError
from src.storage import revisions


class Files:
    """The files of a revision, of which one is there, and the others fail in some way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read_bytes(self, path):
        if path == "here":
            return b"content"
        raise self.error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (FileNotFoundError(2, "No storage files available"), ""),
        (OSError(101, "Network is unreachable"), r" \(\[Errno 101\] Network is unreachable\)"),
        (RuntimeError("Unable to\nlocate credentials"), r" \(Unable to locate credentials\)"),
        (KeyError(), r" \(KeyError\)"),
    ],
)
def test_a_lost_output_is_one_line_with_the_command_that_brings_it_whatever_the_remote_raises(error, why):
    files = Files(error)
    assert revisions.read_bytes(files, "mine", "here") == b"content"
    line = rf"^mine: gone is not in DVC's cache{why}; `dvc exp pull <git remote> mine` .* `dvc pull` .*`make repro`"
    with pytest.raises(UserError, match=line) as caught:
        revisions.read_bytes(files, "mine", "gone")
    assert "\n" not in str(caught.value)
