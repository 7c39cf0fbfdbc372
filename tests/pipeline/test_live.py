"""The curves that `dvc plots` and VS Code's extension draw grow with every epoch, wherever an experiment runs."""

import json
import re
import subprocess
import sys
import time

import pytest

from src.finetune.checkpoint import Epoch
from src.finetune.methods import log_epochs

CURVE = "plots/finetune_resnet/plots/metrics/val/loss.tsv"
SIGNAL = ".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED"  # what tells the extension to draw again


def rows(path) -> int:
    """The epochs that a curve has."""
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def test_every_epoch_is_in_the_files_when_the_next_begins(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    seen = []

    def epochs():
        for number in (1, 2, 3):
            seen.append([rows(path) for path in sorted(tmp_path.rglob("*.tsv"))])
            if number > 1:
                assert json.loads((tmp_path / SIGNAL).read_text())["step"] == number - 1
            fields = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
            yield Epoch(number=number, **fields, images=10, seconds=1.0, val_seconds=0.1, whole=True)

    log_epochs(epochs(), tmp_path / "curves", "seed 0", resumed=1)
    assert re.findall(r"^(seed 0, epoch \d): ", capsys.readouterr().out, re.M) == ["seed 0, epoch 2", "seed 0, epoch 3"]
    assert seen == [[], [1] * 4, [2] * 4]


@pytest.mark.parametrize("way", ["workspace", "temp", "queue"])
def test_curves_grow_while_an_experiment_runs(smallest, copy_of, way):
    clone = copy_of(smallest)
    words = ["exp", "run", *{"workspace": [], "temp": ["--temp"], "queue": ["--queue"]}[way]]
    words += ["-S", "finetune.epochs=12"]
    if way == "queue":
        clone.dvc(*words)
        words = ["queue", "start"]
    pattern = CURVE if way == "workspace" else f".dvc/tmp/exps/**/{CURVE}"
    seen, steps = set(), set()
    process = subprocess.Popen([sys.executable, "-m", "dvc", *words], cwd=clone.folder, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 300
    while time.monotonic() < limit and max(seen, default=0) < 12:
        for path in clone.folder.glob(pattern):
            seen.add(rows(path))
        signal = clone.folder / SIGNAL
        if signal.exists() and (text := signal.read_text()):
            steps.add(json.loads(text)["step"])
        time.sleep(0.01)
    process.wait(timeout=300)
    if way == "queue":
        clone.dvc("queue", "stop", "--kill")
    assert len(seen) >= 6
    assert len(steps) >= 6
