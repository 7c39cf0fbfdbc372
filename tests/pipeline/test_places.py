"""The project where it lies elsewhere than at the root of a repository of its own, or without its cache."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import Clone
from tests.helpers import toy_pipeline


@pytest.fixture
def inside(make_clone, tmp_path):
    """A small pipeline that is a folder of a larger repository, whose path has a space and a letter beyond ASCII."""
    root = tmp_path / "all öf us"
    project = root / "team" / "project"
    project.parent.mkdir(parents=True)
    shutil.move(toy_pipeline.replace(make_clone()).folder, project)
    shutil.rmtree(project / ".git")
    (root / "readme").write_text("ours\n")
    for words in (["init", "-q"], ["config", "user.name", "test"], ["config", "user.email", "test@localhost"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    clone = Clone(project)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    clone.commit("all")
    return root, clone


@pytest.mark.slow
def test_sweeps_and_verification_work_in_a_folder_of_a_larger_repository_and_leave_nothing_in_its_root(inside):
    root, clone = inside
    clone.dvc("repro")
    clone.commit("results")
    said = clone.module("src.sweep", "--classes", "3", "--seeds", "0", fails=True)
    assert "'ö' in the path" in said.splitlines()[-1]
    assert "queued" not in said
    assert "[1/1] k02" in clone.module("src.sweep", "--classes", "2", "--seeds", "0", "--engine", "local")
    plain = root.with_name("all of us")
    root.rename(plain)
    clone = Clone(plain / "team" / "project")
    assert "[1/2] k03" in clone.module("src.sweep", "--classes", "3", "4", "--seeds", "0")
    assert ", 3 of them finished" in clone.module("src.sweep", "--classes", "2", "3", "4", "--seeds", "0", "--dry-run")
    assert "2 stages: every artefact and every number came out" in clone.module("src.verify")
    assert {path.name for path in plain.iterdir()} == {".git", "readme", "team"}
    assert clone.git("status", "--porcelain") == ""


READERS = ["stages.compare", "stages.report", "src.experiments scaling HEAD", "src.predict no.jpg"]
READERS += [
    "src.experiments plan",
    "stages.evaluate resnet finetuned",
    "src.experiments effects --experiments HEAD one",
]


def test_without_dvcs_cache_every_reader_names_the_command_that_brings_the_results(smallest, copy_of, tmp_path):
    origin = copy_of(smallest)
    clone = Clone(tmp_path / "colleague")
    subprocess.run(["git", "clone", "-q", str(origin.folder), str(clone.folder)], check=True)
    for reader in READERS:
        said = clone.module(*reader.split(), fails=True)
        assert "Traceback" not in said
        line = said.splitlines()[-1]
        assert line.startswith("error: ")
        assert "dvc pull" in line
        assert re.search("(make|dvc) repro`", line)
    table = clone.run(sys.executable, "-m", "dvc", "exp", "show")
    assert "val_accuracy" in table
