"""The commit's own result takes part in comparisons where it is one of its own settings and code."""

import subprocess
import sys

import pytest
import yaml

from src.core.errors import UserError
from src.experiments import __main__, read, table
from tests.experiments.test_read import comparison

STAGE = {"cmd": "true", "params": {"params.yaml": {"classes": 2}}, "outs": [{"path": "data/results/compare.json"}]}
LOCK = {"schema": "2.0", "stages": {"compare": STAGE}}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose commit has a result of two classes; returns a function that commits changed files."""
    monkeypatch.chdir(tmp_path)
    read.system.cache_clear()

    def commit(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for words in (["add", "--all"], ["commit", "-q", "--allow-empty", "-m", "more"]):
            who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
            subprocess.run(["git", *who, *words], check=True)
        read.system.cache_clear()

    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    record = comparison([0]).model_dump_json(exclude_none=True)
    commit({"params.yaml": "classes: 2\nseeds: [0]\n", "src/loop.py": ""})
    commit({"dvc.lock": yaml.safe_dump(LOCK), "data/results/compare.json": record, "metrics/compare.json": "{}"})
    yield commit
    read.system.cache_clear()


def test_the_commit_is_one_of_the_results_if_it_has_one(repository):
    assert read.committed()
    assert read.names_of_head() == [read.HEAD]
    assert list(read.comparisons([])) == [read.HEAD]
    assert read.settings(read.HEAD)["classes"] == 2
    repository({"notes": "not code"})
    assert read.committed()


@pytest.mark.parametrize(
    "changed",
    [
        {"params.yaml": "classes: 3\nseeds: [0]\n"},
        {"src/loop.py": "better = True\n"},
        {"data/results/compare.json": "{}"},
    ],
)
def test_a_result_of_other_settings_or_code_is_not_the_commits_own(repository, changed):
    repository(changed)
    assert not read.committed()
    with pytest.raises(UserError, match="no finished experiment is derived from the current commit"):
        read.comparisons([])


def test_the_table_gives_no_numbers_of_other_settings_to_the_commit(repository):
    assert [row.state for row in table.read()] == [""]
    repository({"params.yaml": "classes: 3\nseeds: [0]\n"})
    assert {row.name: row.state for row in table.read()}["HEAD"] == "holds results of other settings"
    assert all(row.state and not row.metrics for row in table.read())


def test_scaling_leaves_the_commit_out_where_it_does_not_agree_with_experiments(capsys, monkeypatch):
    settings = {"k02": {"classes": 2, "finetune.lr": 1}, "HEAD": {"classes": 10, "finetune.lr": 2}}
    monkeypatch.setattr(read, "comparisons", lambda _: dict.fromkeys(settings, comparison([0])))
    monkeypatch.setattr(read, "settings", settings.get)
    monkeypatch.setattr(__main__, "machines", lambda comparisons, **_: list(comparisons))
    monkeypatch.setattr(__main__, "pooled_aloud", lambda runs: runs)
    monkeypatch.setattr(read, "run_of", lambda name, *_: name)
    settings["k02"] |= {"compare.confidence": 0.95, "compare.margin": 0.01}
    settings["HEAD"] |= {"compare.confidence": 0.95, "compare.margin": 0.01}
    runs, _, _ = __main__.read_runs([], mixed=False)
    assert runs == ["k02"]
    assert "left out: the commit's own result, as finetune.lr differs: 1 in k02, 2 in HEAD" in capsys.readouterr().out
    settings["HEAD"]["finetune.lr"] = 1
    assert __main__.read_runs([], mixed=False)[0] == ["k02", "HEAD"]
