"""Interrupted stages: they go on where they were, and end in the bytes of a run that nothing disturbed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from src.storage import files


@pytest.fixture(scope="module")
def trained(make_clone):
    """A clone in which both stages have ended, under two seeds."""
    clone = make_clone()
    clone.configure(seeds=[0, 1], finetune={"methods": ["lp_ft"]})
    clone.dvc("repro", "finetune_resnet", "embed_convnext")
    clone.commit("results")
    return clone


def outs(folder: Path) -> dict[str, str]:
    result = {}
    for name in ("data/checkpoints/resnet", "data/features/convnext", "plots/finetune_resnet"):
        result |= {
            str(path.relative_to(folder)): files.sha256(path)
            for path in (folder / name).rglob("*")
            if path.is_file() and path.name != "metrics.json"
        }
    return result


def test_killed_at_25_random_moments_the_same_bytes_come_out(trained):
    expected = outs(trained.folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.kill", trained.folder, "25", "0"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kills"] == 25
    assert result["resumed"] > 5, result
    assert outs(trained.folder) == expected
    assert not list((trained.folder / "data" / "resume").glob("*"))


def started(clone, *command: str) -> subprocess.Popen:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "RESUME_EVERY": "0", "PYTHONPATH": ""}
    return subprocess.Popen(
        command,
        cwd=clone.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_repro_that_was_stopped_goes_on_in_the_second_seed_and_ends_in_the_same_bytes(trained, number):
    expected = outs(trained.folder)
    command = ("repro", "-f", "--no-run-cache", "-s", "finetune_resnet")  # or it comes back as it was once computed
    run = started(trained, sys.executable, "-m", "dvc", *command)
    state = trained.folder / "data" / "resume"
    while not list(state.glob("*/lp_ft-seed1.safetensors")):
        assert run.poll() is None, run.stdout.read()
        time.sleep(0.01)
    os.killpg(run.pid, number)
    said, _ = run.communicate()
    assert run.returncode != 0
    if number == signal.SIGINT:
        assert "error: stopped by SIGINT in epoch" in said
        assert "Traceback" not in said
    said = trained.dvc(*command)
    assert "lp_ft-seed0: trained already" in said, said
    assert "lp_ft-seed1: resumed in epoch" in said
    assert said.count(": train loss") <= 2  # epochs, all of the second seed
    assert outs(trained.folder) == expected
    assert not list(state.glob("*"))


def wait_for(condition, seconds=240):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.2)


def queue(clone, name: str) -> None:
    """Queue a training at another rate, and have a worker begin."""
    clone.dvc("exp", "run", "--queue", "-n", name, "-S", "finetune.lr=0.002", "finetune_resnet")
    started(clone, sys.executable, "-m", "dvc", "queue", "start").wait()  # its output ends with the worker


def checkpoint(clone, experiment: str) -> str:
    """The hash of the checkpoints that an experiment made."""
    (reference,) = clone.git("for-each-ref", "--format=%(refname)", f"refs/exps/**/{experiment}").split()
    outs = yaml.safe_load(clone.git("show", f"{reference}:dvc.lock"))["stages"]["finetune_resnet"]["outs"]
    return next(out["md5"] for out in outs if out["path"] == "data/checkpoints/resnet")


def test_a_queued_experiment_whose_stage_was_killed_goes_on_when_it_is_queued_again(trained):
    """DVC runs the two in different copies of the clone."""
    trained.dvc("exp", "run", "-n", "undisturbed", "-S", "finetune.lr=0.002", "finetune_resnet")
    trained.git("checkout", "-q", ".")
    shutil.rmtree(trained.folder / ".dvc/cache/runs")  # or it comes back as it was once computed
    queue(trained, "killed")
    wait_for(lambda: list((trained.folder / "data/resume").glob("*/lp_ft-seed0.safetensors")))
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "stages.finetune" in process.cmdline() and process.cwd().startswith(str(trained.folder)):
                process.kill()
    wait_for(lambda: "Failed" in trained.dvc("queue", "status"))
    queue(trained, "again")
    wait_for(lambda: "Success" in trained.dvc("queue", "status"))
    assert "resumed" in trained.dvc("queue", "logs", "again")
    assert checkpoint(trained, "again") == checkpoint(trained, "undisturbed")
    assert not list((trained.folder / "data/resume").glob("*"))
