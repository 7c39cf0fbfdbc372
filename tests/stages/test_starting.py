"""What a stage leaves out when it starts and ends."""

import gc
import subprocess
import sys

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
