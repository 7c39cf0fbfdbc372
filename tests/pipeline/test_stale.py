"""What a change of the code or of a setting makes stale, as `dvc status` sees it."""

import contextlib
import os
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from src.core.section import Section
from src.settings.settings import Settings

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
SECTIONS = [name for name, value in Settings() if isinstance(value, Section)]
TRAINING = {"tune", "finetune_resnet", "finetune_convnext", "robustness"}


@pytest.fixture(scope="module")
def clone(whole, copy_of):
    return copy_of(whole)


@contextlib.contextmanager
def inside(folder: Path):
    """The working directory, from which DVC finds its repository."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def changed(clone, *edits: tuple[str, str]):
    """The stages that are stale while some files are edited, without the one that always runs.

    Args:
        edits: a file and a line that is put at its end.
    """
    before = {name: (clone.folder / name).read_text() for name, _ in edits}
    for name, line in edits:
        with (clone.folder / name).open("a") as file:
            file.write(line)
    try:
        with inside(clone.folder), contextlib.closing(Repo()) as repo:
            yield {name for name in repo.status() if name in STAGES}
    finally:
        for name, text in before.items():
            (clone.folder / name).write_text(text)


def readers(section: str) -> set[str]:
    """The stages whose params name a section or one of its settings."""
    return {
        name
        for name, stage in STAGES.items()
        if any(param.split(".")[0] == section for param in stage.get("params", []))
    }


def test_a_run_that_is_complete_leaves_nothing_stale(clone):
    with changed(clone) as stale:
        assert stale == set()


@pytest.mark.parametrize("section", SECTIONS)
def test_a_new_setting_leaves_every_stage_clean_that_does_not_read_its_section(clone, section):
    module = type(getattr(Settings(), section)).__module__.replace(".", "/") + ".py"
    text = (clone.folder / "params.yaml").read_text()
    assert f"\n{section}:\n" in text
    (clone.folder / "params.yaml").write_text(text.replace(f"\n{section}:\n", f"\n{section}:\n  brand_new: 1\n"))
    try:
        with changed(clone, (module, "\n# A field of a section more.\n")) as stale:
            assert stale
            assert stale <= readers(section)
    finally:
        (clone.folder / "params.yaml").write_text(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/compare/verdict.py", {"compare"}),
        ("src/evaluate/imagenet_labels.yaml", {"eval_convnext", "eval_resnet_frozen", "backbones"}),
        ("src/settings/settings.py", {"report"}),
        ("src/report/templates/report.html", {"report"}),
        ("src/sweep/plan.py", set()),
    ],
)
def test_an_edit_makes_stale_what_runs_it(clone, path, expected):
    with changed(clone, (path, "\n# A line more.\n")) as stale:
        assert not stale & TRAINING
        assert expected <= stale <= expected | {"eval_resnet", "eval_convnext_finetuned"}
