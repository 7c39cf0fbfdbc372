"""Schedules: the factor on the learning rate at each step."""

import numpy as np
import pytest
import torch
from torch import nn

from src.finetune.optim import lr_factor


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_a_constant_rate_is_constant(steps):
    assert [lr_factor(step, steps, "constant", 0.0) for step in range(steps)] == [1.0] * steps


@pytest.mark.parametrize("steps", [10, 1000])
def test_a_cosine_falls_from_the_whole_rate_over_half_of_it_to_nothing(steps):
    rates = [lr_factor(step, steps, "cosine", 0.0) for step in range(steps + 1)]
    assert rates[0] == 1
    assert rates[steps // 2] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)
    assert np.mean(rates) == pytest.approx(0.5)


def test_a_cosine_is_pytorchs():
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20)
    for step in range(20):
        assert lr_factor(step, 20, "cosine", 0.0) == pytest.approx(plan.get_last_lr()[0])
        opt.step()
        plan.step()


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100, 1000])
@pytest.mark.parametrize("warmup", [0.1, 0.3])
def test_one_cycle_rises_for_its_share_and_falls_to_nothing(steps, warmup):
    rates = [lr_factor(step, steps, "one_cycle", warmup) for step in range(steps + 1)]
    assert all(0 < rate <= 1 for rate in rates[:-1])
    assert rates[-1] == 0
    if steps >= 10:
        top = int(np.argmax(rates))
        assert top == pytest.approx(warmup * steps, abs=1)
        assert rates[top] == pytest.approx(1, abs=1 / steps)
        assert rates[0] == pytest.approx(min(1, 1 / (warmup * steps)))
        assert (np.diff(rates[: top + 1]) > 0).all()
        assert (np.diff(rates[top + 1 :]) < 0).all()
        assert np.mean(rates) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_rate_rises_in_a_line_to_what_it_is_without_warm_up(schedule):
    rates = [lr_factor(step, 100, schedule, 0.2) for step in range(101)]
    assert rates[:20] == pytest.approx(np.arange(1, 21) / 20)
    assert max(rates) == 1
    if schedule == "constant":
        assert set(rates[20:]) == {1.0}
    else:
        assert rates[20:] == pytest.approx([lr_factor(step, 80, "cosine", 0.0) for step in range(81)])


def test_a_warm_up_is_pytorchs():
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    plan = torch.optim.lr_scheduler.LinearLR(opt, 1 / 10, 1.0, total_iters=9)
    for step in range(20):
        assert lr_factor(step, 20, "constant", 0.5) == pytest.approx(plan.get_last_lr()[0])
        opt.step()
        plan.step()
