"""DVC's queue: its states, its errors, and the environment of its commands."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.sweep import __main__ as sweep
from src.sweep import queue
from src.sweep.plan import Planned


def test_a_new_task_of_the_queue_hides_an_old_one_of_its_name():
    tasks = [
        {"name": "k02-a", "status": "Running"},
        {"name": "k03-a", "status": "Queued"},
        {"name": "k02-a", "status": "Failed"},
        {"name": "k04-a", "status": "Failed"},
        {"name": "k05-a", "status": "Success"},
        {"name": None, "status": "Unknown"},
    ]
    states = {"k02-a": "Running", "k03-a": "Queued", "k04-a": "Failed", "k05-a": "Success"}
    assert queue.task_states(tasks) == states
    assert queue.task_states([]) == {}


@pytest.mark.parametrize(("failures", "fails"), [(2, False), (3, True)])
def test_a_busy_queue_is_tried_again_and_its_error_is_one_line(monkeypatch, failures, fails):
    monkeypatch.setattr(queue, "RETRIES", (0, 0))
    calls = []

    def call(_):
        calls.append(1)
        if len(calls) <= failures:
            raise LookupError("a worker\nis writing")
        return "done"

    error = pytest.raises(UserError, match=r"^DVC's queue cannot be used: a worker is writing$")
    with error if fails else contextlib.nullcontext():
        assert queue.in_queue(call) == "done"
    assert len(calls) == 3


def test_this_environments_dvc_comes_first_and_threads_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    result = queue.environment(2)
    assert result["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert result["OMP_NUM_THREADS"] == "7"
    assert "DVC_ROOT" not in result
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert queue.environment(2)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in queue.environment()


def test_a_command_has_ended_when_it_ends_and_not_when_what_it_left_behind_does():
    """As `dvc queue start` leaves workers, which hold on to its output."""
    begun = time.monotonic()
    assert queue.run("sh", "-c", "echo started; sleep 20 & exit 0") == "started\n"
    assert time.monotonic() - begun < 10


def test_a_shallow_clone_is_refused_before_anything_is_queued_and_a_whole_one_is_not(tmp_path, monkeypatch):
    author = ["-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false"]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", origin], check=True)
    for message in ("first", "second"):
        subprocess.run(["git", "-C", origin, *author, "commit", "-q", "--allow-empty", "-m", message], check=True)
    subprocess.run(["git", "clone", "-q", "--depth", "1", origin.as_uri(), clone], check=True)
    monkeypatch.chdir(clone)
    with pytest.raises(UserError, match=r"^this clone is shallow, .*: git fetch --unshallow"):
        sweep.main(["--classes", "2"])
    subprocess.run(["git", "fetch", "-q", "--unshallow"], check=True)
    queue.require_history()


def test_a_clone_that_lacks_objects_is_refused_until_they_are_there(tmp_path, monkeypatch):
    author = ["-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false"]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", origin], check=True)
    subprocess.run(["git", "-C", origin, "config", "uploadpack.allowFilter", "true"], check=True)
    for text in ("first", "second"):
        (origin / "file").write_text(text)
        subprocess.run(["git", "-C", origin, "add", "file"], check=True)
        subprocess.run(["git", "-C", origin, *author, "commit", "-q", "-m", text], check=True)
    subprocess.run(["git", "clone", "-q", "--filter=blob:none", origin.as_uri(), clone], check=True)
    monkeypatch.chdir(clone)
    with pytest.raises(
        UserError, match=r"^this clone is partial: it lacks 1 objects .*: git fetch --refetch --no-filter"
    ):
        sweep.main(["--classes", "2"])
    subprocess.run(["git", "fetch", "-q", "--refetch", "--no-filter"], check=True)
    queue.require_history()


@pytest.mark.parametrize(("name", "fault"), [("my é", "é"), ("50%20", "%"), ("c#", "#"), ("it's $1 (new), a b", None)])
def test_a_path_that_dvcs_queue_cannot_handle_is_refused_before_anything_is_queued(monkeypatch, name, fault):
    queued = []
    monkeypatch.setattr(queue, "enqueue", queued.extend)
    monkeypatch.setattr(queue, "follow", lambda *_: None)
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home") / name)
    progress = queue.SweepProgress([Planned("k02", ("classes=2",), 1.0)], set())
    if fault is None:
        sweep.by_queue(progress, "commit", 1)
    else:
        with pytest.raises(UserError, match=f"^'{fault}' in the path /home/.*: DVC's queue cannot .* --engine local"):
            sweep.by_queue(progress, "commit", 1)
    assert len(queued) == (fault is None)


@pytest.mark.parametrize(
    ("tasks", "reason"), [({"k02": "Success"}, queue.NOT_ARRIVED), ({}, queue.LEFT), ({"k02": "Running"}, None)]
)
def test_an_experiment_whose_commit_did_not_arrive_is_told_from_one_that_left_the_queue(
    monkeypatch, capsys, tasks, reason
):
    monkeypatch.setattr(queue, "status", lambda: queue.Status(tasks, 1))
    monkeypatch.setattr(queue, "finished", lambda _: set())
    progress, misses = queue.SweepProgress([Planned("k02", ("classes=2",), 1.0)], set()), {}
    for _ in range(queue.MAX_MISSES):
        assert not progress.failed
        _, misses = queue.look(progress, "commit", 1, misses)
    assert progress.failed == (["k02"] if reason else [])
    assert (reason or "") in capsys.readouterr().out
