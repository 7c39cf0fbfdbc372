"""Interrupted stages: they go on where they were, and end in the bytes of a run that nothing disturbed."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from torch import Tensor, nn

import stages
from src.core.errors import UserError
from src.device import runtime
from src.finetune import loop
from src.finetune.checkpoint import Epoch, TrainState
from src.nets import fast_cpu, inference, preprocess
from src.settings.settings import Settings
from src.storage import files, resume
from src.storage.resume import StateFile
from tests.helpers import toy_training

CPU = runtime.start("cpu", "fp32")


class CutError(Exception):
    """What stands for the end of a process."""


class CutShort(StateFile):
    """A place at which every step is saved, and the process ends after so many of them."""

    left = 0

    def due(self) -> bool:
        return True

    def save(self, tensors, about):
        super().save(tensors, about)
        self.left -= 1
        if self.left == 0:
            raise CutError


def network() -> nn.Module:
    """A toy in the layout of the CPU."""
    return fast_cpu.to_device(toy_training.network(), CPU.device)


def train(file: StateFile, method: str = "full", **changes: Any) -> tuple[dict[str, Tensor], list[Epoch], TrainState]:
    model, state = network(), TrainState.load(file)
    list(toy_training.finetune(model, method=method, state=state, **changes))
    return model.state_dict(), state.history, state


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


RECIPES = {
    "adam": {"schedule": "one_cycle", "warmup": 0.3, "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "schedule": "cosine", "weight_decay": 0.01, "augment": False},
    "lp_ft": {"method": "lp_ft", "epochs": 4},
    "average": {"method": "lp_ft", "epochs": 4, "ema": 0.8, "schedule": "cosine", "warmup": 0.2},
    "patience": {"method": "lp_ft", "epochs": 6, "patience": 1, "lr": 0.1},
    "augmented": {"policy": "randaugment", "erasing": 0.5, "mix": "cutmix", "label_smoothing": 0.1},
    "balanced": {"balance": "sampling", "mix": "mixup", "augment": False},
}


LONG = ("average", "patience")


@pytest.mark.parametrize("recipe", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in RECIPES])
def test_a_training_that_ends_at_any_step_goes_on_to_the_same_bytes(recipe, tmp_path):
    whole, history, state = train(StateFile(), **RECIPES[recipe])
    steps = len(history) * (70 // 16) + len(history)  # after each batch, and after each epoch
    for cut in range(1, steps + 1):
        place = CutShort(tmp_path / str(cut))
        place.left = cut
        with pytest.raises(CutError):
            train(place, **RECIPES[recipe])
        place.left = -1
        weights, again, found = train(place, **RECIPES[recipe])
        assert same(found.best_weights, state.best_weights)
        assert [epoch.results() for epoch in again] == [epoch.results() for epoch in history]
        if cut < steps:  # after the last one nothing is left to do, not even to the network
            assert same(weights, whole)


def test_a_training_can_be_interrupted_at_every_single_step(tmp_path):
    whole, history, _ = train(StateFile())
    place = CutShort(tmp_path)
    for _ in itertools.repeat(None, 9):
        place.left = 1
        with pytest.raises(CutError):
            train(place)
    place.left = 2
    weights, again, _ = train(place)
    assert same(weights, whole)
    assert [epoch.results() for epoch in again] == [epoch.results() for epoch in history]


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_finished_training_is_extended_to_the_same_bytes_as_a_longer_one(ema, tmp_path):
    whole, history, state = train(StateFile(), epochs=4, ema=ema)
    for epochs, there in ((2, 0), (1, 0), (4, 2), (4, 4), (3, 0)):
        model, again = network(), TrainState.load(StateFile(), StateFile(tmp_path), epochs)
        assert len(again.history) == there
        list(toy_training.finetune(model, state=again, epochs=epochs, ema=ema))
        assert [epoch.results() for epoch in again.history] == [epoch.results() for epoch in history[:epochs]]
        if epochs == 4:
            assert same(again.best_weights, state.best_weights)
            assert there == 4 or same(model.state_dict(), whole)


def test_optimizer_state_is_restored_in_the_layout_of_the_weights(tmp_path):
    """Fused optimizers are silently wrong where the two differ (torch 2.14.1)."""
    place = CutShort(tmp_path)
    place.left = 1
    with pytest.raises(CutError):
        train(place)
    model, state = network(), TrainState.load(place)
    _, _, trained = loop.prepare(model, toy_training.config(), 8, CPU)
    state.restore(trained, 1, 4)
    kernel = next(iter(model.parameters()))
    assert trained.optimizer.state[kernel]["exp_avg"].stride() == kernel.stride() != kernel.contiguous().stride()


def test_a_state_whose_bytes_changed_is_not_believed(tmp_path, capsys):
    place = CutShort(tmp_path)
    place.left = 3
    with pytest.raises(CutError):
        train(place)
    content = bytearray(place.path.read_bytes())
    content[-5] ^= 1
    place.path.write_bytes(content)
    assert TrainState.load(place).batch == 0
    assert "damaged, so this stage starts from the beginning" in capsys.readouterr().out
    place.path.write_bytes(content[:1000])
    assert TrainState.load(place).batch == 0


def test_a_full_disk_costs_the_saved_point_and_not_the_training(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise UserError("state could not be written: No space left on device")

    whole, _, _ = train(StateFile())
    monkeypatch.setattr(files, "write_tensors", full)
    monkeypatch.setattr(resume, "SAVE_EVERY", 0.0)
    weights, _, _ = train(StateFile(tmp_path))
    assert same(weights, whole)
    assert "the state is not saved: state could not be written: No space" in capsys.readouterr().out


def blocks(skip: int = 0):
    """40 rows of 3, in blocks of 8; each says which row it is."""
    for start in range(skip, 40, 8):
        yield np.repeat(np.arange(start, start + 8, dtype=np.float32)[:, None], 3, axis=1)


class CutRows(CutShort):
    def note(self, about):
        super().note(about)
        self.left -= 1
        if self.left == 0:
            raise CutError


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_an_array_that_was_interrupted_ends_in_the_same_bytes(tmp_path, cut):
    files.write_array(tmp_path / "whole.npy", blocks(), (40, 3), "float32")
    place, started = CutRows(tmp_path, "rows"), []
    place.left = cut

    def compute(skip: int = 0):
        started.append(skip)
        return blocks(skip)

    with pytest.raises(CutError):
        resume.write_rows(tmp_path / "out.npy", place, (40, 3), compute)
    assert not (tmp_path / "out.npy").exists()
    with (tmp_path / "rows.npy").open("ab") as file:
        file.write(b"half a row that nobody noted")
    resume.write_rows(tmp_path / "out.npy", place, (40, 3), compute)
    assert started == [0, 8 * cut]
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_growing_array_that_was_damaged_starts_from_the_beginning(tmp_path, damage):
    place, path = CutRows(tmp_path, "rows"), tmp_path / "rows.npy"
    place.left = 3
    with pytest.raises(CutError):
        resume.write_rows(tmp_path / "out.npy", place, (40, 3), blocks)
    content = bytearray(path.read_bytes())
    content[150] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:200])
    resume.write_rows(tmp_path / "out.npy", place, (40, 3), blocks)
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.concatenate(list(blocks())))


def test_outputs_that_are_there_are_left_out_and_the_others_are_the_same():
    raw = np.random.default_rng(0).integers(256, size=(70, 8, 8, 3), dtype=np.uint8)
    model, view = network(), preprocess.view("resnet18", 8)
    size = inference.batch_size(view.size, CPU.device)
    raw = np.tile(raw, (8, 1, 1, 1))
    whole = inference.predict(model, raw, np.arange(len(raw)), view=view, accelerator=CPU)
    for skip in (0, size, 2 * size, len(raw)):
        found = list(inference.outputs(model, raw, np.arange(len(raw)), view=view, accelerator=CPU, skip=skip))
        assert sum(map(len, found)) == len(raw) - skip
        assert not found or np.array_equal(np.concatenate(found), whole[skip:])


@pytest.fixture
def pipeline(tmp_path, monkeypatch) -> Path:
    """The code of the one stage of a pipeline, which depends on it and on two settings; it lies where we are."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {train: {deps: [code.py, raw], params: [seed, finetune.lr]}}")
    Path("code.py").write_text("1")
    Path("raw").mkdir(parents=True)
    Path("raw/images.npy").write_text("1")
    return Path("code.py")


def key(machine: object = "cpu", apart: tuple[str, ...] = (), **changes: object) -> str:
    return stages.key("train", Settings.model_validate(changes), machine, apart)


def test_a_key_changes_with_all_that_decides_the_result_and_with_nothing_else(pipeline):
    first = key()
    assert key() == key(compare={"resamples": 100}) == key(resume=False) == first
    others = {key(seed=1), key(finetune={"lr": 0.1}), key("cuda")}
    pipeline.write_text("2")
    others.add(key())
    Path("raw/images.npy").write_text("2")
    others.add(key())
    assert len(others | {first}) == 6


def test_a_key_leaves_out_the_dependencies_that_the_stage_compares_itself(pipeline):
    first = key(apart=("code.py",))
    pipeline.write_text("2")
    assert key(apart=("code.py",)) == first
    Path("raw/images.npy").write_text("2")
    assert key(apart=("code.py",)) != first


@pytest.mark.usefixtures("pipeline")
def test_state_is_gone_after_a_good_end_and_stays_after_a_bad_one():
    with pytest.raises(CutError), stages.saved_state("train", Settings(), runtime.machine(CPU)) as place:
        raise CutError
    assert place.folder.exists()
    with stages.saved_state("train", Settings(), runtime.machine(CPU)) as again:
        assert again.folder == place.folder
    assert not place.folder.exists()


@pytest.mark.usefixtures("pipeline")
def test_nothing_is_saved_where_it_is_switched_off():
    with stages.saved_state("train", Settings(resume=False), runtime.machine(CPU)) as place:
        assert place.folder is None
        assert not place.due()
    assert not resume.root().exists()


@pytest.mark.usefixtures("pipeline")
def test_two_that_compute_the_same_never_share_a_state(capsys):
    with stages.saved_state("train", Settings(), runtime.machine(CPU)) as first:
        with stages.saved_state("train", Settings(), runtime.machine(CPU)) as second:
            assert first.folder.exists()
            assert second.folder is None
        assert first.folder.exists()
    assert "another process computes the same" in capsys.readouterr().out


class Signalled(StateFile):
    """A place to which a signal comes while the second batch is computed."""

    number = signal.SIGINT
    batches = 0

    def due(self) -> bool:
        self.batches += 1
        if self.batches == 2:
            os.kill(os.getpid(), self.number)
        return super().due()


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_waits_for_the_batch_and_is_answered_by_a_saved_point(number, capsys):
    def stage() -> None:
        with stages.saved_state("train", Settings(), runtime.machine(CPU)) as place:
            signalled = Signalled(place.folder, asked=place.asked)
            signalled.number = number
            train(signalled)

    before = signal.getsignal(number)
    with pytest.raises(UserError, match=f"stopped by {number.name} in epoch 1, after 2 of its batches; the same"):
        stage()
    assert signal.getsignal(number) == before
    assert "once more to stop at once" in capsys.readouterr().out
    (folder,) = resume.root().iterdir()
    assert TrainState.load(StateFile(folder)).batch == 2


@pytest.fixture(scope="module")
def trained(make_clone):
    """A clone in which both stages have ended, and the hashes of what they made."""
    clone = make_clone()
    clone.configure(finetune={"methods": ["full", "lp_ft"]})
    clone.dvc("repro", "finetune_resnet", "embed_convnext")
    clone.commit("results")
    return clone


def outs(folder: Path) -> dict[str, str]:
    found = {}
    for name in ("data/checkpoints/resnet", "data/features/convnext", "plots/finetune_resnet"):
        found |= {
            str(path.relative_to(folder)): files.sha256(path)
            for path in (folder / name).rglob("*")
            if path.is_file() and path.name != "metrics.json"
        }
    return found


def test_killed_at_25_random_moments_the_same_bytes_come_out(trained):
    expected = outs(trained.folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.kill", trained.folder, "25", "0"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == 25
    assert found["resumed"] > 5, found
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
def test_a_repro_that_was_stopped_goes_on_and_ends_in_the_same_bytes(trained, number):
    expected = outs(trained.folder)
    command = ("repro", "-f", "--no-run-cache", "-s", "finetune_resnet")  # or it comes back as it was once computed
    run = started(trained, sys.executable, "-m", "dvc", *command)
    state = trained.folder / "data" / "resume"
    while not list(state.glob("*/full.safetensors")):
        assert run.poll() is None, run.stdout.read()
        time.sleep(0.01)
    os.killpg(run.pid, number)
    said, _ = run.communicate()
    assert run.returncode != 0
    if number == signal.SIGINT:
        assert "error: stopped by SIGINT in epoch" in said
        assert "Traceback" not in said
    said = trained.dvc(*command)
    assert "resumed" in said, said
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
    wait_for(lambda: list((trained.folder / "data/resume").glob("*/full.safetensors")))
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
