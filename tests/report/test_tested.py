"""How often the test images were looked at, counted in repositories of a few commits."""

import subprocess

import pytest

from src.report.tested import count_tested

LOCK = """stages:
  eval_resnet:
    outs:
    - path: data/predictions/resnet
      hash: md5
      md5: {resnet}.dir
      size: 10
  compare:
    deps:
    - path: data/predictions/resnet
      hash: md5
      md5: {resnet}.dir
"""


@pytest.fixture
def git(tmp_path):
    def call(*words):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    call("init", "-q")
    return call


def commit(git, root, lock):
    (root / "dvc.lock").write_text(lock)
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "message")
    return git("rev-parse", "HEAD")


def test_results_of_commits_and_experiments_count_once_each(git, tmp_path):
    assert count_tested(tmp_path, tmp_path / "none") == 0
    commit(git, tmp_path, "stages:\n  prepare:\n    outs:\n    - path: data/subset\n      hash: md5\n      md5: a\n")
    assert count_tested(tmp_path, tmp_path) == 0
    base = commit(git, tmp_path, LOCK.format(resnet="aaa"))
    assert count_tested(tmp_path, tmp_path) == 1
    for name in ("bbb", "ccc"):
        experiment = commit(git, tmp_path, LOCK.format(resnet=name))
        git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", experiment)
        git("reset", "-q", "--hard", base)
    again = commit(git, tmp_path, LOCK.format(resnet="aaa") + "# the same results\n")
    git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/again", again)
    assert count_tested(tmp_path, tmp_path) == 3


def test_the_present_run_counts_and_a_lock_file_that_was_deleted_is_no_result(git, tmp_path):
    commit(git, tmp_path, LOCK.format(resnet="aaa"))
    git("rm", "-q", "dvc.lock")
    git("commit", "-q", "-m", "message")
    assert count_tested(tmp_path, tmp_path) == 1
    (tmp_path / "dvc.lock").write_text(LOCK.format(resnet="ddd"))
    assert count_tested(tmp_path, tmp_path) == 2


def test_outside_of_a_repository_the_present_run_counts_alone(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK.format(resnet="aaa"))
    assert count_tested(tmp_path, tmp_path) == 1
