"""Attacks stay within epsilon, and break exactly what can be broken where that is known: in linear networks.

A linear network with logits W x + b answers y for every x' within epsilon of x if, for each other class j,
(W_y - W_j) x + b_y - b_j > epsilon * sum |W_y - W_j|, as long as no pixel comes to black or white.
"""

import numpy as np
import pytest
import torch
from torch import nn

from src.core.errors import UserError
from src.nets import preprocess
from src.robustness import attacks
from src.robustness.attacks import ATTACKS, Attacked, Budget, survivors
from tests.helpers.mps_rules import pretended

BUDGET = Budget.of(steps=20)
EPSILON = 0.02


def linear(classes: int, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(3 * 4 * 4, classes)
    layer.weight.data = torch.randn(classes, 48, generator=generator)
    layer.bias.data = -layer.weight.data.sum(1) / 2  # grey is on every border
    return nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)


def greys(count: int = 60, seed: int = 1) -> torch.Tensor:
    """Images (n, 3, 4, 4) so near to grey that none comes to black or white."""
    return 0.5 + 0.1 * torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).clamp(-3, 3)


def margins(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The epsilon from which each image can be broken (n,)."""
    weight, logits = model[1].weight, model(x)
    gaps = (logits.gather(1, y[:, None]) - logits) / (weight[y][:, None] - weight).abs().sum(2).clamp(min=1e-12)
    return gaps.scatter(1, y[:, None], float("inf")).min(1).values


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd_ce"])
def test_of_two_classes_exactly_those_images_break_that_can(name):
    model, x = linear(2), greys()
    y = model(x).argmax(1)
    expected = margins(model, x, y) > EPSILON
    assert 10 < expected.sum() < 50
    result = survivors(name, model, x, y, EPSILON, budget=BUDGET, seed=0)
    assert np.array_equal(result, expected.numpy())


def test_all_of_autoattack_finds_what_can_be_broken_among_four_classes():
    model, x = linear(4), greys(16)
    y = model(x).argmax(1)
    reach = margins(model, x, y) / 0.01
    result = torch.from_numpy(survivors("autoattack", model, x, y, 0.01, budget=BUDGET, seed=0))
    assert result[reach > 1].all()
    assert not result[reach < 0.98].any()
    assert 0 < result.sum() < 16


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "autoattack"])
def test_none_breaks_what_cannot_be_broken_and_every_real_one_beats_noise(name):
    model, x = linear(3), greys()
    y = model(x).argmax(1)
    safe = (margins(model, x, y) > EPSILON).numpy()
    result = survivors(name, model, x, y, EPSILON, budget=BUDGET, seed=0)
    assert result[safe].all()
    noise = survivors("noise", model, x, y, EPSILON, budget=BUDGET, seed=0)
    assert result.sum() < noise.sum() or name == "noise"


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "autoattack"])
def test_pixels_stay_within_epsilon_and_between_black_and_white(name):
    model = linear(3)
    x = torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # some are 0 or 1
    y = model(x).argmax(1)
    result = ATTACKS[name](model, x, y, 0.05, BUDGET, 0)
    assert (result - x).abs().max() <= 0.05 + 1e-6
    assert result.min() >= 0
    assert result.max() <= 1
    if name in ("noise", "fgsm"):  # as far as they may
        inner = (x > 0.06) & (x < 0.94)
        torch.testing.assert_close((result - x).abs()[inner], torch.full_like(x, 0.05)[inner])


def test_an_image_that_was_wrong_before_counts_as_broken():
    model, x = linear(2), greys(20)
    wrong = 1 - model(x).argmax(1)
    assert not survivors("noise", model, x, wrong, EPSILON, budget=BUDGET, seed=0).any()


def test_an_attack_that_leaves_its_bounds_is_not_believed(monkeypatch):
    monkeypatch.setitem(ATTACKS, "fgsm", lambda *arguments: arguments[1] + 0.1)
    model, x = linear(2), greys(20)
    with pytest.raises(ValueError, match="changed a pixel by more than"):
        survivors("fgsm", model, x, model(x).argmax(1), EPSILON, budget=BUDGET, seed=0)


@pytest.mark.parametrize("name", ["noise", "pgd", "apgd_ce", "square"])
def test_the_seed_alone_decides_and_other_streams_go_on(name):
    model, x = linear(3), greys()
    y = model(x).argmax(1)
    torch.manual_seed(5)
    first = survivors(name, model, x, y, EPSILON, budget=BUDGET, seed=0)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert np.array_equal(first, survivors(name, model, x, y, EPSILON, budget=BUDGET, seed=0))


def test_few_steps_of_pgd_are_a_quarter():
    calls = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return torch.stack([x.sum((1, 2, 3)) * 0 + 1, x.sum((1, 2, 3)) * 0], dim=1)  # nothing can break it

    x, y = greys(4), torch.zeros(4, dtype=torch.int64)
    for name, steps in (("pgd", 20), ("pgd_short", 5)):
        calls.clear()
        ATTACKS[name](Counting(), x, y, EPSILON, BUDGET, 0)
        assert len(calls) == steps


@pytest.mark.parametrize(("arch", "interpolation"), [("resnet18", "bilinear"), ("efficientnet_b0", "bicubic")])
def test_what_stands_before_the_network_is_what_every_other_stage_does(arch, interpolation):
    """Attacked pixels in [0, 1] give what uint8 pixels give there: normalised first, then resized."""
    view = preprocess.view(arch, 24)
    assert view.interpolation == interpolation
    pixels = torch.randint(256, (2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = Attacked(nn.Identity(), nn.Identity(), view)
    result = model(pixels.permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(result, preprocess.to_input(pixels, view), atol=1e-5, rtol=1e-5)


def test_a_gradient_comes_through_the_resizing():
    model = Attacked(nn.Flatten(), nn.Linear(3 * 24 * 24, 2), preprocess.view("resnet18", 24)).requires_grad_(False)
    slope, _ = attacks.gradient(model, greys(5), torch.zeros(5, dtype=torch.int64))
    assert (slope != 0).all()


def test_the_gradient_is_contiguous_however_the_network_lays_out_its_maps():
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()).to(memory_format=torch.channels_last)
    model = Attacked(conv, nn.Linear(8 * 22 * 22, 2), preprocess.view("resnet18", 24)).requires_grad_(False)
    for side in (4, 24):
        x = torch.rand(3, 3, side, side)
        slope, _ = attacks.gradient(model, x, torch.zeros(3, dtype=torch.int64))
        assert slope.is_contiguous()


def test_autoattack_takes_images_that_lie_as_the_dataset_holds_them(monkeypatch):
    """Channels last in memory; of its four attacks, the queries of the last are made few."""
    from pyautoattack.square import SquareAttack

    def few(attack, x, y):
        attack.n_queries = 20
        return original(attack, x, y)

    original = SquareAttack.perturb
    monkeypatch.setattr(SquareAttack, "perturb", few)
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten()).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    model = Attacked(conv, nn.Linear(8 * 22 * 22, 5), preprocess.view("resnet18", 24)).eval().requires_grad_(False)
    x = torch.rand(6, 8, 8, 3).permute(0, 3, 1, 2)
    y = model(x).argmax(1)
    broken = ~survivors("autoattack", model, x, y, 0.2, budget=BUDGET, seed=0)
    assert broken.any()


def test_autoattack_is_left_out_below_four_classes_and_says_why():
    names = ["pgd", "autoattack"]
    assert attacks.available(names, 4) == (names, {})
    for classes, why in ((2, "DLR loss does not exist for 2"), (3, "targeted DLR loss does not exist for 3")):
        kept, reasons = attacks.available(names, classes)
        assert kept == ["pgd"]
        assert why in reasons["autoattack"]


def test_attacks_of_the_package_are_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(attacks, "find_spec", lambda _: None)
    assert attacks.available(["fgsm", "pgd"], 4)[0] == ["fgsm", "pgd"]
    with pytest.raises(UserError, match=r"square needs the package pyautoattack; allowed without it are fgsm, pgd"):
        attacks.available(["pgd", "square"], 4)


@pytest.mark.parametrize("name", ["noise", "fgsm", "pgd"])
def test_own_attacks_keep_the_rules_of_mps(monkeypatch, name):
    weight, x = torch.randn(48, 3, generator=torch.Generator().manual_seed(0)), greys(6)

    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.weight

    model = Product()
    y = (x.flatten(1) @ weight).argmax(1)
    with pretended(monkeypatch):
        model.weight = weight.to("mps")
        result = survivors(name, model, x.to("mps"), y.to("mps"), EPSILON, budget=BUDGET, seed=0)
    model.weight = weight
    assert np.array_equal(result, survivors(name, model, x, y, EPSILON, budget=BUDGET, seed=0))
