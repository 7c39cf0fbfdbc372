"""Outputs of other revisions, where DVC's cache lacks them."""

import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from dvc.exceptions import DvcException

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


@pytest.mark.parametrize("inside", [".", "team/my project"])
def test_files_of_git_and_of_dvc_are_read_wherever_the_project_lies_in_its_repository(tmp_path, monkeypatch, inside):
    project = tmp_path / inside
    project.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(b"of dvc", usedforsecurity=False).hexdigest()
    cached = project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"of dvc")
    (project / ".dvc" / "config").write_text("")
    (project / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    (project / "tracked").write_text("of git")
    (project / "data.dvc").write_text(f"outs:\n- md5: {digest}\n  size: 6\n  hash: md5\n  path: data\n")
    author = ("-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false")
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True)
    (project / "tracked").write_text("changed")
    monkeypatch.chdir(project)
    files = revisions.system("HEAD")
    assert files.read_text("tracked") == "of git"
    assert revisions.read_bytes(files, "HEAD", "data") == b"of dvc"
    cached.unlink()
    with pytest.raises(UserError, match=r"^HEAD: data is not in DVC's cache; "):
        revisions.read_bytes(files, "HEAD", "data")
    with pytest.raises(DvcException, match="unknown Git revision"):
        revisions.system("nowhere")


READS = """
from dvc.exceptions import DvcException
from src.storage import revisions
kept = []
for name in ("first", "nowhere"):
    try:
        kept.append(revisions.system(name))
        kept[-1].read_text("tracked")
    except DvcException as error:
        print(error)
"""


def test_experiments_are_found_by_name_and_nothing_is_said_at_the_end(tmp_path):
    """DVC's reader of git leaves files open, about which Python complains when it ends."""
    author = ("-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("")
    (tmp_path / "tracked").write_text("of git")
    run = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "first"]):
        run(["git", *author, *words])
    head = run(["git", "rev-parse", "HEAD"]).stdout.strip()
    run(["git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/first", head])
    run(["git", "gc", "-q"])  # what is packed stays open
    done = run([sys.executable, "-c", READS], env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    assert (done.stdout, done.stderr) == ("unknown Git revision 'nowhere'\n", "")
