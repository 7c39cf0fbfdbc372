"""Averages of weights: what an average is after some steps, and when the network has it."""

import pytest
import torch
from torch import nn

from src.finetune import optim
from tests.helpers.toy_training import digits, train


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.BatchNorm1d(10))


def test_an_average_worked_by_hand():
    """Weights 0, 1, 1: the average is 0 after the first step, then 0.1, then 0.9 * 0.1 + 0.1."""
    model = nn.Linear(1, 1, bias=False)
    average = optim.make_ema(model, 0.9)
    for value, expected in ((0.0, 0.0), (1.0, 0.1), (1.0, 0.19)):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        assert average.module.weight.item() == pytest.approx(expected)


def test_running_statistics_are_averaged_too():
    model = nn.BatchNorm1d(1)
    average = optim.make_ema(model, 0.5)
    for value in (0.0, 1.0):
        model.running_mean.fill_(value)
        average.update_parameters(model)
    assert average.module.running_mean.item() == 0.5


def test_it_stands_in_for_the_network_and_leaves_it_as_it_was():
    model = network()
    average = optim.make_ema(model, 0.9)
    with torch.no_grad():
        model[1].weight.add_(1)
    own, weight = model[1].weight.clone(), model[1].weight
    with optim.ema_weights(average, model):
        assert torch.equal(model[1].weight, average.module[1].weight)
        assert not torch.equal(model[1].weight, own)
    assert model[1].weight is weight
    assert torch.equal(weight, own)


def weights(model: nn.Module, **changes: object) -> list[torch.Tensor]:
    """What the network has after every epoch."""
    trained = train(model, digits(), **changes)
    return [model[1].weight.detach().clone() for _ in trained]


def test_training_is_the_same_with_an_average_beside_it_and_yields_the_average():
    plain, averaged = network(), network()
    list(train(plain, digits()))
    seen = weights(averaged, ema=0.5)
    assert torch.equal(plain[1].weight, averaged[1].weight)
    assert not torch.equal(seen[-1], averaged[1].weight)
    assert (seen[-1] - averaged[1].weight).abs().max() < 0.1


def test_a_long_memory_changes_less_from_epoch_to_epoch():
    changes = {}
    for decay in (0.5, 0.99):
        seen = weights(network(), ema=decay, epochs=4)
        changes[decay] = (seen[-1] - seen[-2]).norm().item()
    assert changes[0.99] < changes[0.5]
