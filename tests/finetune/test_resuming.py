"""Interrupted trainings: they resume where they were, and end in the bytes of an undisturbed run."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.device import runtime
from src.finetune import loop
from src.finetune.checkpoint import Epoch, TrainState
from src.nets import specialised
from src.storage import files, resume
from src.storage.resume import StateFile
from tests.helpers import toy_training
from tests.helpers.cut import CutError, CutShort

CPU = runtime.start("cpu", "fp32")


def network() -> nn.Module:
    """A toy in the layout of the CPU."""
    return specialised.place(toy_training.network(), 8, CPU.device)


def train(file: StateFile, method: str = "full", **changes: Any) -> tuple[dict[str, Tensor], list[Epoch], TrainState]:
    model, state = network(), TrainState.load(file, toy_training.config(**changes))
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
    "frozen": {"method": "lp_ft", "epochs": 4, "freeze": 0.3, "augment": False},
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
        weights, again, result = train(place, **RECIPES[recipe])
        assert same(result.best_weights, state.best_weights)
        assert [epoch.results() for epoch in again] == [epoch.results() for epoch in history]
        if cut < steps:  # after the last one nothing is left to do, not even to the network
            assert same(weights, whole)


@pytest.mark.parametrize("recipe", [{"epochs": 2}, {"epochs": 2, "method": "lp_ft"}, {"epochs": 40, "patience": 1}])
def test_a_training_that_ended_is_not_begun_again(recipe, tmp_path):
    """Though its network is not there any more, and with patience it ended early."""
    _, history, state = train(StateFile(tmp_path), **recipe)
    assert (len(history) < recipe["epochs"]) == ("patience" in recipe)
    state.finish(recipe["epochs"])
    weights, again, result = train(StateFile(tmp_path), **recipe)
    assert same(weights, network().state_dict())
    assert again == history
    assert (result.best, same(result.best_weights, state.best_weights)) == (state.best, True)


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
        model, again = network(), TrainState.load(StateFile(), toy_training.config(epochs=epochs), StateFile(tmp_path))
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
    model, state = network(), TrainState.load(place, toy_training.config())
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
    assert TrainState.load(place, toy_training.config()).batch == 0
    assert "damaged, so this stage starts from the beginning" in capsys.readouterr().out
    place.path.write_bytes(content[:1000])
    assert TrainState.load(place, toy_training.config()).batch == 0


def test_a_full_disk_costs_the_saved_point_and_not_the_training(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise UserError("state could not be written: No space left on device")

    whole, _, _ = train(StateFile())
    monkeypatch.setattr(files, "write_tensors", full)
    monkeypatch.setattr(resume, "SAVE_EVERY", 0.0)
    weights, _, _ = train(StateFile(tmp_path))
    assert same(weights, whole)
    assert "the state is not saved: state could not be written: No space" in capsys.readouterr().out
