"""Where a stage saves its state: the key, the lock, the end, and signals."""

import os
import signal
from pathlib import Path

import pytest

import stages
from src.core.errors import UserError
from src.device import runtime
from src.finetune.checkpoint import TrainState
from src.settings.settings import Settings
from src.storage import resume
from src.storage.resume import StateFile
from tests.finetune.test_resuming import CPU, train
from tests.helpers.cut import CutError
from tests.helpers.toy_training import config


@pytest.fixture
def pipeline(tmp_path, monkeypatch) -> Path:
    """The code of the one stage of a pipeline, which depends on it and on two settings; it lies where we are."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {train: {deps: [code.py, raw], params: [seeds, finetune.lr]}}")
    Path("code.py").write_text("1")
    Path("raw").mkdir(parents=True)
    Path("raw/images.npy").write_text("1")
    return Path("code.py")


def key(machine: object = "cpu", apart: tuple[str, ...] = (), **changes: object) -> str:
    return stages.key("train", Settings.model_validate(changes), machine, apart)


def test_a_key_changes_with_all_that_decides_the_result_and_with_nothing_else(pipeline):
    first = key()
    assert key() == key(compare={"margin": 0.02}) == key(resume=False) == first
    others = {key(seeds=[1]), key(finetune={"lr": 0.1}), key("cuda")}
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


@pytest.fixture
def terminal():
    """As in a terminal, though the tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("pipeline", "terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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
    assert TrainState.load(StateFile(folder), config()).batch == 2


def test_a_second_signal_of_a_kind_ends_the_process_at_once():
    with resume.signals() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked == [signal.SIGINT, signal.SIGTERM]


def test_under_nohup_a_closed_terminal_stops_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with resume.signals() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert asked == []
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
