"""What a stage leaves out when it starts and ends."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import stages

PREPARE = """
import sys
from torch import nn
from src.device import runtime
from src.finetune import loop
from src.finetune.config import Finetune
from src.tune import search
loop.prepare(nn.Linear(2, 2), Finetune().at("resnet18"), 1, runtime.start("cpu", "fp32"))
print([name for name in ("torch.distributed.tensor", "dvclive", "dvc") if name in sys.modules])
"""


def test_a_search_imports_neither_distributed_tensors_nor_dvc():
    done = subprocess.run([sys.executable, "-c", PREPARE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_stage_seldom_looks_for_garbage_and_not_at_its_end(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/any.py"])
    seen = []
    stages.run(lambda settings: seen.append((settings.dataset, gc.get_threshold()[0], gc.get_freeze_count())))
    try:
        assert seen == [("cifar10", 50_000, 0)]
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_a_stage_waits_for_another_process_that_runs_it_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    entered = []

    def second() -> None:
        with stages.alone("embed-resnet"):
            entered.append(time.monotonic())

    with stages.alone("embed-resnet"):
        with stages.alone("embed-convnext"):
            waiting = threading.Thread(target=second)
            waiting.start()
            time.sleep(0.3)
        assert entered == []
        ended = time.monotonic()
    waiting.join()
    assert entered[0] >= ended
    assert "another process still runs this stage here" in capsys.readouterr().out


def test_processes_of_torchrun_but_the_first_do_not_wait(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    with stages.alone("embed-resnet"), stages.alone("embed-resnet"):
        pass
    assert list(tmp_path.iterdir()) == []


CHILD = "import stages, time; stages.end_with_dvc(); print('ready', flush=True); time.sleep(600)"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
@pytest.mark.parametrize("by_dvc", [True, False])
def test_a_stage_ends_with_the_dvc_that_runs_it_and_not_with_another_parent(by_dvc):
    variables = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    variables |= {"DVC_STAGE": "embed"} if by_dvc else {}
    command = [sys.executable, "-c", PARENT, CHILD]
    parent = subprocess.Popen(
        command, env=variables | {"PYTHONPATH": str(Path.cwd())}, stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, left = psutil.wait_procs([child], timeout=5 if by_dvc else 0.5)
    assert left == ([] if by_dvc else [child])
    for process in left:
        process.kill()
