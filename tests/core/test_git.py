"""Git about the repository of the present folder, whatever the environment and its settings say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.core import git
from src.core.errors import UserError
from src.device import runtime
from src.experiments import read
from src.report import tested
from src.reproduction import experiments
from src.sweep import queue

AUTHOR = ("-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false")


def run(*words: str, folder: Path) -> str:
    return subprocess.run(["git", *AUTHOR, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a project in a folder of it, which is the present one."""
    project = tmp_path / "all of us" / "team" / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "code.py").write_text("")
    root = tmp_path / "all of us"
    run("init", "-q", folder=root)
    run("add", "--all", folder=root)
    run("commit", "-q", "-m", "first", folder=root)
    monkeypatch.chdir(project)
    return root


def test_a_project_knows_its_place_and_is_cloned_with_what_is_around_it(repository, tmp_path):
    assert git.place() == (repository, Path("team/project"))
    clone = git.clone(tmp_path / "clone")
    assert clone == tmp_path / "clone" / "team" / "project"
    assert (clone / "src" / "code.py").exists()


def test_outside_of_a_repository_there_is_no_place_and_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^there is no git repository here; run `git init`"):
        git.place()
    assert runtime.commit() == "none"
    git.require_readable()


def test_without_git_there_is_one_line_and_no_commit(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert runtime.commit() == "none"
    for ask in (git.place, lambda: git.clone(repository / "clone"), lambda: queue.require_ready(("src",))):
        with pytest.raises(UserError, match=r"^git is not installed here; install it$"):
            ask()


def test_variables_of_a_hook_name_no_other_repository(repository, tmp_path, monkeypatch):
    other = tmp_path / "other"
    run("init", "-q", str(other), folder=tmp_path)
    for name, value in (("GIT_DIR", other / ".git"), ("GIT_WORK_TREE", other), ("GIT_INDEX_FILE", other / "none")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    assert git.place()[0] == repository
    assert runtime.commit() != "none"
    assert queue.head() == runtime.commit()
    assert git.environment().keys() == os.environ.keys() - {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_ROOT"}


@pytest.fixture
def of_somebody_else(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")  # git's own, for such tests
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    return repository


@pytest.mark.usefixtures("of_somebody_else")
@pytest.mark.parametrize(
    "ask",
    [
        git.require_readable,
        git.place,
        runtime.commit,
        queue.head,
        lambda: tested.count_tested(Path()),
        lambda: read.comparisons([]),
        lambda: experiments.named(["HEAD"]),
    ],
)
def test_a_repository_that_git_refuses_is_one_line_with_the_command_that_mends_it(ask):
    line = r"^git refuses this repository, .*: git config --global --add safe\.directory .*all of us"
    with pytest.raises(UserError, match=line) as caught:
        ask()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"status.showUntrackedFiles": "no"}, "src/new.py"),
        ({"core.excludesFile": "ignored"}, "src/new.py"),
        ({}, "src/new.txt"),
        ({"core.quotePath": "true", "status.relativePaths": "false"}, "src/neü .py"),
    ],
)
def test_untracked_code_is_seen_whatever_git_is_set_to_show(repository, settings, name):
    queue.require_committed(("src",))
    for key, value in settings.items():
        run("config", key, str(repository / value) if key == "core.excludesFile" else value, folder=repository)
    (repository / "ignored").write_text("new.py\n__pycache__/\n")
    Path("src", "__pycache__").mkdir()
    Path("src", "__pycache__", "code.cpython.pyc").write_text("")
    if "core.excludesFile" in settings:
        queue.require_committed(("src/__pycache__",))
    else:
        Path("src", "__pycache__", "code.cpython.pyc").unlink()
    Path(name).write_text("")
    with pytest.raises(UserError, match=rf"^team/project/{name} differs from the commit; commit first"):
        queue.require_committed(("src",))
