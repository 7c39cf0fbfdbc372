"""Bench and race: every way does the work for which it is timed, and the baseline is what one would write."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from src.bench import baseline, machine, peers, rules, throughput, time_to_accuracy
from src.bench.time_to_accuracy import Course, Finish
from src.bench.workload import Way, Workload
from src.core.errors import UserError
from src.device import runtime
from src.finetune import loop
from src.finetune.checkpoint import TrainState
from src.finetune.config import DEFAULT_LR, Finetune
from src.nets import models, preprocess
from src.prepare.config import Prepare
from src.prepare.subset import choose_images

CPU = runtime.start("cpu", "fp32")
WORKLOAD = Workload("mobilenet_v3_small", 32, 8, Finetune(), CPU)
IMAGES = np.random.default_rng(0).integers(256, size=(40, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(40) % 2
VIEW = preprocess.view("resnet18", 8)


def test_plain_inputs_are_this_projects_where_nothing_is_augmented():
    index = np.array([3, 1, 4])
    ((result, labels),) = baseline.loader(IMAGES, index, LABELS[index], VIEW, batch_size=3, train=False)
    torch.testing.assert_close(result, preprocess.to_input(torch.from_numpy(IMAGES[index]), VIEW), atol=1e-5, rtol=1e-5)
    assert labels.tolist() == [1, 1, 0]


def test_plain_inputs_are_resized_where_the_network_sees_another_size():
    ((result, _),) = baseline.loader(
        IMAGES, np.arange(2), LABELS[:2], preprocess.view("resnet18", 12), batch_size=2, train=False
    )
    assert result.shape == (2, 3, 12, 12)


def test_plain_training_images_are_shuffled_and_augmented_in_full_batches():
    batches = list(baseline.loader(IMAGES, np.arange(40), LABELS, VIEW, batch_size=16, train=True))
    assert [len(labels) for _, labels in batches] == [16, 16]
    own = {image.numpy().tobytes() for image in preprocess.to_input(torch.from_numpy(IMAGES), VIEW)}
    assert sum(image.numpy().tobytes() in own for batch, _ in batches for image in batch) < 16


def test_plain_training_learns_as_this_projects_loop_does():
    """The same network on the same batches: gradient for gradient, up to the fused optimizer's rounding."""
    batches = [(torch.randn(8, 3, 2, 2), torch.arange(8) % 3) for _ in range(5)]
    result = []
    for ours in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        if ours:
            network, optimizer, trained = loop.prepare(model, Finetune(lr=1e-2), 5, CPU)
            loop.train_epoch(network, batches, nn.functional.cross_entropy, optimizer, trained, TrainState())
        else:
            baseline.train(model, batches, baseline.optimizer(model, 1e-2, 1e-4), torch.device("cpu"))
        result.append(model[1].weight.detach())
    torch.testing.assert_close(result[0], result[1])


def installed(peer_ways) -> list[Callable[[Workload], Way]]:
    """The peers that can be asked, but for the compiler, which takes minutes."""
    return [make for name, (make, needs) in peer_ways.items() if name != "compile" and not peers.missing(*needs)]


TRAINING = [*throughput.TRAINING.values(), *installed(throughput.TRAINING_PEERS)]


@pytest.mark.parametrize("make", [*TRAINING, *throughput.EMBEDDING.values()])
def test_every_way_runs_so_many_batches_through_the_network(make, monkeypatch):
    seen = []
    build = models.build

    def counted(*arguments, **names):
        model = build(*arguments, **names)
        model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        return model

    monkeypatch.setattr(models, "build", counted)
    way = make(WORKLOAD)
    seen.clear()
    assert way(3) > 0
    assert sum(seen) == 3 * WORKLOAD.batch_size  # in whatever batches


@pytest.mark.parametrize("make", installed(throughput.EMBEDDING_PEERS))
def test_peers_that_embed_are_asked_for_features_of_every_image(make):
    assert make(WORKLOAD)(2) > 0


@pytest.mark.parametrize("make", TRAINING)
def test_every_way_of_training_changes_its_network(make, monkeypatch):
    made = []
    build = models.build
    monkeypatch.setattr(
        models, "build", lambda *arguments, **names: made.append(build(*arguments, **names)) or made[-1]
    )
    way = make(WORKLOAD)
    before = models.head(made[0])[0].clone()
    way(1)
    assert not torch.equal(models.head(made[0])[0], before)


def test_the_ways_take_turns():
    order: list[str] = []

    def way(name: str) -> Way:
        return lambda batches: order.append(f"{name}{batches}") or float(len(order))

    result = throughput.take_turns({"a": way("a"), "b": way("b")}, batches=8, rounds=2)
    assert order == ["a2", "b2", "a8", "b8", "a8", "b8"]
    assert result == {"a": [3, 5], "b": [4, 6]}


def test_rates_and_ratios_are_medians_over_rounds():
    limit = machine.Limit(arithmetic=1 / 24, memory=1 / 60)
    result = throughput.summary({"this": [1, 2, 4], "plain": [2, 6, 12]}, images=12, limit=limit)
    ratio = {"this_by_it_median": 3, "this_by_it_low": 2, "this_by_it_high": 3}
    assert result["plain"] == {"median": 2, "low": 1, "high": 6, "share_of_limit": pytest.approx(1 / 12), **ratio}
    assert result["this"]["median"] == 6
    assert result["this"]["share_of_limit"] == pytest.approx(0.25)


def test_the_limit_of_a_network_worked_by_hand():
    """Six products of 3 * 8 * 8 inputs for each image; weights are moved once, or ten times, for a batch of two."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 6, bias=False))
    rates = machine.Rates(macs=1e6, bytes=1e5)
    embedding = machine.limit(network, 8, 2, rates, train=False)
    assert embedding.arithmetic == pytest.approx(1152 / 1e6)
    assert embedding.memory == pytest.approx((4 * 1152 / 2 + 4 * 192) / 1e5)
    assert (embedding.by, embedding.rate) == ("memory", pytest.approx(1e5 / 3072))
    training = machine.limit(network, 8, 2, rates, train=True)
    assert training.arithmetic == pytest.approx(3 * 1152 / 1e6)
    assert training.memory == pytest.approx((40 * 1152 / 2 + 4 * 192) / 1e5)


def test_the_machines_rates_are_those_of_a_product_and_a_copy(monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 64)
    monkeypatch.setattr(machine, "COPIED", 2**16)
    rates = machine.rates(torch.device("cpu"), torch.float32)
    assert 1e6 < rates.macs < 1e15
    assert 1e6 < rates.bytes < 1e15


def test_rules_are_checked_for_every_shape_that_has_several_ways(capsys, monkeypatch):
    monkeypatch.setattr(rules, "WORSE", 0.0)  # so that every choice is named
    times = rules.check(WORKLOAD.training()[0], WORKLOAD, train=True, show=True)
    assert len(times) > 5
    assert all(len(by_way) > 1 and min(by_way.values()) > 0 for by_way in times.values())
    said = capsys.readouterr().out
    assert said.count("slower rule: ") == said.count(" * ms") + said.count(" *, ") == len(times)
    assert f"for {len(times)}\n" in said


def test_a_peer_that_is_not_installed_is_named_with_where_it_is_listed(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"^--peers timm: timm is not installed; it is in requirements-bench\.txt$"):
        throughput.parse(["--peers", "timm"])


def course(seed: int) -> Course:
    config, rng = Prepare(val_fraction=0.2), np.random.default_rng(seed)
    subset = choose_images(LABELS, LABELS, [0, 1], ["a", "b"], config, rng)
    return Course(IMAGES, IMAGES, subset, VIEW, seed, CPU)


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def test_all_ways_start_alike_and_are_asked_about_every_test_image(monkeypatch):
    monkeypatch.setattr(time_to_accuracy, "PLAIN", Finetune(batch_size=16, lr=DEFAULT_LR))
    started = []
    result = time_to_accuracy.run(lambda: started.append(tiny()) or started[-1], course(0))
    assert list(result) == ["plain", "same", "fast"]
    assert len(started) == 3
    assert [finish.epochs for finish in result.values()][:2] == [5, 5]
    assert all(finish.seconds > 0 and finish.right.shape == (40,) for finish in result.values())


def test_our_run_stops_where_the_goal_is_reached():
    for epochs, goal, expected in ((9, 0.0, 1), (3, math.inf, 3)):
        fast = time_to_accuracy.FAST.model_copy(update={"epochs": epochs, "batch_size": 16})
        assert time_to_accuracy.our_run(tiny(), course(0), fast, goal).epochs == expected


def test_make_fast_is_the_recipe_that_is_timed():
    said = re.search(r"^FAST \?= ((?:.*\\\n)*.*)$", Path("Makefile").read_text(), re.M)
    changed = dict(re.findall(r"-S finetune\.(\w+)=(\S+)", said[1]))
    assert {
        name: str(value).lower()
        for name, value in time_to_accuracy.FAST
        if value != getattr(time_to_accuracy.PLAIN, name)
    } == changed


def test_a_summary_worked_by_hand():
    right = np.array([True, True, False, False])
    seeds = [
        {"plain": Finish(8.0, 5, 0.7, right), "fast": Finish(2.0, 2, 0.8, right)},
        {"plain": Finish(6.0, 5, 0.7, right), "fast": Finish(1.0, 2, 0.6, ~right | right)},
    ]
    result = time_to_accuracy.summary(seeds)
    assert result["plain"]["faster"] == {"median": 1, "low": 1, "high": 1}
    assert result["fast"]["faster"] == {"median": 5, "low": 4, "high": 6}
    assert (result["fast"]["reached"], result["fast"]["seeds"]) == (1, 2)
    assert result["fast"]["test_accuracy"] == 0.75
    assert result["fast"]["test_accuracy_less_plain"]["value"] == 0.25
    assert result["plain"]["test_accuracy_less_plain"] is None
