"""Frozen blocks stay as they are; their outputs are computed once where every epoch has the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.device import runtime
from src.finetune import loop, part
from src.finetune.batches import Data
from src.finetune.checkpoint import Epoch, TrainState
from src.finetune.loop import Phase
from src.nets import blocks, specialised
from tests.helpers import toy_training
from tests.helpers.toy_training import VIEW, config, digits

CPU = runtime.start("cpu", "fp32")
EPOCH = Epoch(1, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5, whole=True, images=8, seconds=2.0)
FROZEN = {"freeze": 0.5, "augment": False, "schedule": "cosine"}  # two of three blocks


def network() -> nn.Module:
    return specialised.place(toy_training.network(), 8, CPU.device)


def fitted(method: str = "full", **changes: object) -> tuple[nn.Module, list]:
    model = network()
    return model, list(toy_training.finetune(model, method=method, **changes))


def of(data: Data, model: nn.Module | None = None, **changes: object) -> part.Part:
    return part.trained_part(model or network(), data, config(**FROZEN | changes), VIEW, CPU, whole=True)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize(("method", "epochs"), [("full", 2), ("lp_ft", 4)])
def test_the_first_blocks_stay_byte_for_byte_and_the_others_learn(augment, method, epochs):
    before = network().state_dict()
    model, history = fitted(method, freeze=0.3, augment=augment, epochs=epochs)
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == before.keys() - {"0.0.weight", "0.0.bias"}
    assert history[-1].train_loss < history[0].train_loss


@pytest.mark.parametrize("augment", [True, False])
def test_statistics_of_frozen_blocks_stay_too(augment):
    model, _ = fitted(freeze=0.99, augment=augment)
    assert model[0][2].num_batches_tracked == 0
    assert torch.equal(model[0][2].running_mean, torch.zeros(8))


@pytest.mark.parametrize("change", [{}, {"ema": 0.5}, {"balance": "sampling"}, {"watch": "test"}, {"drop_last": False}])
def test_outputs_that_are_kept_give_what_the_whole_network_gives(change, monkeypatch):
    kept_model, kept = fitted(**FROZEN, **change)
    monkeypatch.setattr(part, "ROOM", 0)
    model, history = fitted(**FROZEN, **change)
    for ours, theirs in zip(kept, history, strict=True):
        assert ours.results() == pytest.approx(theirs.results(), rel=1e-4)
    for name, theirs in model.state_dict().items():
        torch.testing.assert_close(kept_model.state_dict()[name], theirs, rtol=1e-3, atol=1e-5)


def test_the_first_blocks_see_every_image_once(monkeypatch):
    seen, predict = [], part.predict

    def counted(first: nn.Module, images: np.ndarray, index: np.ndarray, **options: object) -> np.ndarray:
        seen.append(len(index))
        return predict(first, images, index, **options)

    monkeypatch.setattr(part, "predict", counted)
    fitted(**FROZEN, epochs=4)
    assert seen == [70, 30]


@pytest.mark.parametrize(
    "change", [{"augment": True}, {"mix": "mixup"}, {"erasing": 0.5}, {"policy": "randaugment"}, {"freeze": 0.0}]
)
def test_images_that_differ_from_epoch_to_epoch_go_through_the_whole_network(change):
    assert of(digits()).view.done
    data = digits()
    whole = of(data, **change)
    assert (whole.data, whole.view) == (data, VIEW)


def test_nor_are_outputs_kept_of_watched_images_that_are_augmented_or_where_there_is_no_room(monkeypatch):
    data = digits()
    assert not of(replace(data, watched=replace(data.watched, augmented=True))).view.done
    size = blocks.cut(network(), 0.5, 8).bytes
    monkeypatch.setattr(part, "ROOM", 100 * size)
    assert of(data).view.done
    monkeypatch.setattr(part, "ROOM", 100 * size - 1)
    assert not of(data).view.done


def test_without_images_to_watch_there_are_none_of_these_outputs():
    data = digits()
    data = replace(data, watched=replace(data.watched, index=data.watched.index[:0], labels=data.watched.labels[:0]))
    assert len(of(data).data.watched.index) == 0


def test_in_bfloat16_after_the_head_was_trained(monkeypatch):
    """accelerate wraps what it runs, and the network comes to the second phase as it left the first."""
    given = {"view": VIEW, "seed": 0, "accelerator": runtime.start("cpu", "bf16")}
    histories = []
    for room in (part.ROOM, 0):
        monkeypatch.setattr(part, "ROOM", room)
        model, state = network(), TrainState()
        list(loop.train(model, digits(), config(**FROZEN), state=state, phase=Phase(False, 1, 2), **given))
        assert of(digits(), model).view.done == (room > 0)
        list(loop.train(model, digits(), config(**FROZEN), state=state, phase=Phase(True, 3, 2), **given))
        histories.append([epoch.results() for epoch in state.history])
    for ours, theirs in zip(*histories, strict=True):
        assert ours == pytest.approx(theirs, rel=0.05)


def test_the_arithmetic_of_a_step_behind_frozen_blocks():
    """Counted by PyTorch. The backward pass of the first trained layer has no gradient of its inputs."""
    body = [nn.Linear(64, 64, bias=False) for _ in range(20)]
    model, inputs, labels = nn.Sequential(*body, nn.Linear(64, 2, bias=False)), torch.randn(8, 64), torch.arange(8) % 2
    model[:10].requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(inputs), labels).backward()
    frozen, macs = 10 * 64 * 64, 20 * 64 * 64 + 64 * 2
    assert loop.cost([EPOCH], macs, 0, frozen)["train_macs"] == pytest.approx(counter.get_total_flops() / 2, rel=0.03)
    once = loop.cost([EPOCH, EPOCH], macs, 3, frozen, kept=11)["train_macs"]
    assert once == 11 * frozen + 2 * (3 * 8 + 3) * (macs - frozen)
    assert (
        loop.cost([replace(EPOCH, whole=False)], macs, 3, frozen, kept=11)["train_macs"] == 11 * frozen + (8 + 3) * macs
    )
