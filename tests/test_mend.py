"""Files that a killed DVC left half written: what is whole in them stays, the rest comes from the last commit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from zc.lockfile import LockFile

from src import mend
from src.settings.settings import load
from tests.conftest import ROOT


def entry(name: str, mark: str) -> str:
    """The entry of a stage, as DVC writes it."""
    outs = "".join(
        f"    - path: data/{name}{i}\n      hash: md5\n      md5: {mark * 32}\n      size: 123{i}\n" for i in (1, 2)
    )
    params = "    params:\n      params.yaml:\n        classes: 5\n        finetune:\n          lr: 1e-05\n"
    return f"  {name}:\n    cmd: python -m stages.{name}\n    deps:\n{outs}{params}    outs:\n{outs}"


NAMES = ("download", "prepare", "report")
COMMITTED = mend.HEADER + "".join(entry(name, "a") for name in NAMES)
PRESENT = mend.HEADER + "".join(entry(name, "b") for name in NAMES)
PARAMS = (ROOT / "params.yaml").read_text()


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path):
    """A repository in which DVC ran, with a lock and settings in its last commit."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text(COMMITTED)
    (tmp_path / "params.yaml").write_text(PARAMS)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "dvc.lock", "params.yaml")
    git(tmp_path, "commit", "-q", "-m", "results")
    return tmp_path


def stages(text: str) -> dict:
    return yaml.safe_load(text)["stages"]


@pytest.mark.parametrize("end", range(0, len(PRESENT), 11))
def test_a_lock_that_was_cut_anywhere_keeps_its_whole_stages_and_gets_the_others_from_the_commit(end):
    now, before = stages(PRESENT), stages(COMMITTED)
    mended = mend.mended_lock(PRESENT[:end], COMMITTED)
    whole = [name for name in NAMES if entry(name, "b") in PRESENT[:end]]
    if mended is None:  # nothing shows that it was cut; DVC reads it, and its cache of runs has what is missing
        assert PRESENT[:end] == mend.HEADER + "".join(entry(name, "b") for name in whole)
        assert whole
    else:
        assert stages(mended[0]) == {name: (now if name in whole else before)[name] for name in NAMES}
        assert list(stages(mended[0])) == list(NAMES)
        assert mended[1].startswith(f"{len(whole)} stages kept, {len(NAMES) - len(whole)} taken")


def test_a_lock_that_no_commit_has_keeps_its_whole_stages_and_is_removed_without_any(root):
    half = mend.HEADER + entry("download", "b") + entry("prepare", "b")[:-30]
    assert mend.mended_lock(half, "") == (
        mend.HEADER + entry("download", "b"),
        "1 stages kept, 0 taken from the last commit",
    )
    (root / "data").mkdir()
    (root / "data/dvc.lock").write_text("sche")
    (line,) = mend.mend(root)
    assert line.startswith("data/dvc.lock was half written; mended: 0 stages kept")
    assert not (root / "data/dvc.lock").exists()
    assert (root / ".dvc/tmp/torn/data/dvc.lock").read_text() == "sche"


@pytest.mark.parametrize(
    "text",
    [
        PRESENT,
        mend.HEADER + entry("report", "b"),
        PRESENT.replace("  prepare:\n", "<<<<<<< HEAD\n  prepare:\n"),
        PRESENT.replace("      size: 1232\n", "<<<<<<< HEAD\n      size: 1232\n"),
        PRESENT.replace("    deps:\n", "  deps:\n", 1)[:-1],
        "schema: '3.0'\nstages:\n  download:\n",
    ],
)
def test_a_lock_in_which_nothing_was_cut_off_stays(text):
    assert mend.mended_lock(text, COMMITTED) is None


@pytest.mark.parametrize("end", range(0, len(PARAMS), 131))
def test_settings_that_were_cut_anywhere_keep_their_whole_values(end, tmp_path):
    changed = PARAMS.replace("classes: 10 ", "classes: [cat, dog] ").replace("  epochs: 5 ", "  epochs: 7 ")
    cut = changed[:end]
    mended = mend.mended_params(cut, PARAMS)
    if mended is None:
        assert "  corrupted: null" in cut
        return
    path = tmp_path / "params.yaml"
    path.write_text(mended[0])
    settings = load(path)
    whole = cut[: cut.rfind("\n") + 1]
    assert settings.classes == (["cat", "dog"] if "classes: [cat, dog]" in whole else 10)
    assert settings.finetune.epochs == (7 if "  epochs: 7" in whole else 5)
    count = whole.count("\n")
    assert rows(mended[0]) == rows("\n".join(changed.splitlines()[:count] + PARAMS.splitlines()[count:]))


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_list_that_was_cut_between_its_items_is_that_of_the_commit():
    assert "seeds: [0, 1, 2]" in PARAMS
    cut = PARAMS.replace("seeds: [0, 1, 2]", "seeds:\n- 5\n- 6\n- 7")
    mended, said = mend.mended_params(cut[: cut.index("- 7")], PARAMS)
    assert rows(mended) == rows(PARAMS)
    assert said == "seeds and all below as in the last commit"


@pytest.mark.parametrize(
    "text",
    [
        PARAMS,
        PARAMS.rstrip("\n"),
        PARAMS.replace("classes: 10 ", "classes: [cat, dog ", 1),
        PARAMS.replace("controls: null", "contrls: null"),
        PARAMS[: len(PARAMS) // 2].replace("controls: null", "contrls: null"),
        "classes: 5\n",
    ],
)
def test_settings_that_a_person_wrote_stay(text):
    assert mend.mended_params(text, PARAMS) is None


def test_the_command_mends_all_once_and_says_a_line_of_each(root):
    (root / "dvc.lock").write_text(PRESENT[:-100])
    (root / "params.yaml").write_text(PARAMS.replace("classes: 10 ", "classes: 3 ")[:2000])
    command = [sys.executable, "-m", "src.mend"]
    said = [
        subprocess.run(
            command, cwd=root, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(2)
    ]
    lock, params = said[0]
    mended = "mended: 2 stages kept, 1 taken from the last commit (as it was: .dvc/tmp/torn/dvc.lock)"
    assert lock == f"dvc.lock was half written; {mended}"
    assert params.startswith("params.yaml was half written; mended: ")
    assert "classes: 3 " in (root / "params.yaml").read_text()
    assert said[1] == []


def test_notes_of_processes_that_are_gone_are_removed_and_those_of_a_dvc_stay(root):
    note = root / ".dvc/tmp/rwlock"
    holders = {"pid": os.getpid(), "cmd": "dvc repro"}, {"pid": 2**22 + 1, "cmd": "dvc repro"}
    note.write_text(json.dumps({"write": {"/data/raw": holders[0]}, "read": {"/src": list(holders)}}))
    (line,) = mend.mend(root)
    assert line == ".dvc/tmp/rwlock named processes that are gone; removed them"
    assert json.loads(note.read_text()) == {"write": {}, "read": {}}  # this process has the number, but is no DVC
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", "dvc"], stdin=subprocess.PIPE)
    kept = {"write": {"/data/raw": {"pid": other.pid, "cmd": "dvc repro"}}, "read": {}}
    note.write_text(json.dumps(kept))
    assert list(mend.mend(root)) == []
    other.communicate()
    assert json.loads(note.read_text()) == kept


@pytest.mark.parametrize(
    "name", ["rwlock", "exps/rwlock", "exps/run/abc/abc.json", "exps/celery/broker/in/1_a.celery.msg"]
)
def test_a_note_that_is_half_written_is_removed_unless_it_is_being_written(root, name, monkeypatch):
    path = root / ".dvc/tmp" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for torn in ('{"write": {"/da', ""):
        path.write_text(torn)
        os.utime(path, (0, 0))
        (line,) = mend.mend(root)
        assert line == f".dvc/tmp/{name} was half written; removed"
        assert not path.exists()
    path.write_text('{"write": {"/da')
    monkeypatch.setattr(mend, "SETTLED", 60)
    monkeypatch.setattr(mend.time, "sleep", lambda _: path.write_text("{}"))
    assert list(mend.mend(root)) == []
    assert path.exists()


def test_nothing_is_touched_while_a_dvc_is_at_work_and_nothing_is_made_where_there_is_none(root, tmp_path_factory):
    (root / "dvc.lock").write_text("sche")
    held = LockFile(str(root / ".dvc/tmp/lock"))
    assert list(mend.mend(root)) == []
    held.close()
    assert len(list(mend.mend(root))) == 1
    empty = tmp_path_factory.mktemp("empty")
    assert list(mend.mend(empty)) == []
    assert list(empty.iterdir()) == []


def put_away(root: Path) -> None:
    """What `dvc exp run` does before it changes the settings, up to where it was killed."""
    (root / "params.yaml").write_text(PARAMS.replace("classes: 10 ", "classes: 3 "))
    git(root, "checkout", "-q", "-B", "work")
    git(root, "stash")
    git(root, "checkout", "-q", "--detach", tip(root))


def tip(root: Path) -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()


def head(root: Path) -> str:
    return (root / ".git/HEAD").read_text().strip()


@pytest.mark.parametrize("applied", [False, True])
def test_the_branch_and_the_changes_that_a_killed_experiment_had_put_away_come_back(root, applied):
    put_away(root)
    if applied:
        git(root, "stash", "apply")
    (line,) = mend.mend(root)
    assert line.startswith("a killed `dvc exp run` had left the branch work; it is back")
    assert head(root) == "ref: refs/heads/work"
    assert "classes: 3 " in (root / "params.yaml").read_text()
    assert ("git stash list" in line) == applied
    assert list(mend.mend(root)) == []


@pytest.mark.parametrize("stashed", [False, True])
def test_a_head_that_somebody_detached_stays(root, stashed, monkeypatch):
    if stashed:
        monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00")
        (root / "params.yaml").write_text("classes: 3\n")
        git(root, "stash")
        monkeypatch.delenv("GIT_COMMITTER_DATE")
    git(root, "checkout", "-q", "--detach", *[tip(root)] * stashed)
    before = head(root)
    assert list(mend.mend(root)) == []
    assert head(root) == before


def test_a_lock_of_git_is_removed_when_nobody_is_at_work(root, monkeypatch):
    monkeypatch.setattr(mend, "SETTLED", 60)
    lock = root / ".git/index.lock"
    lock.write_text("")
    assert list(mend.mend(root)) == []  # it is new
    os.utime(lock, (0, 0))
    git_at_work = subprocess.Popen(["git", "cat-file", "--batch"], cwd=root, stdin=subprocess.PIPE)
    assert list(mend.mend(root)) == []
    git_at_work.communicate()
    assert list(mend.mend(root)) == ["index.lock of git was left by a process that is gone; removed"]
    assert not lock.exists()


def test_every_target_that_runs_dvc_mends_first():
    text = (ROOT / "Makefile").read_text()
    (mending,) = [line for line in text.splitlines() if line.endswith(": mend")]
    recipes, target = {}, ""
    for line in text.splitlines():
        if line.startswith("\t"):
            recipes[target] = recipes.get(target, "") + line
        elif ":" in line and not line.startswith(("#", ".PHONY")):
            target = line.split(":")[0]
    words = (" dvc ", "src.sweep", "src.reproduction", "src.experiments", "src.verify")
    running = {name for name, recipe in recipes.items() if any(word in recipe for word in words)}
    assert running == set(mending.removesuffix(": mend").split())
