"""The stopwatch of all arms: whole batches of the same images, the median round, and costs counted alike."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from src.core.records import Interval
from src.device import energy, runtime
from src.evaluate import frozen, timing
from src.evaluate.timing import FEWEST, ROUNDS, Speed
from src.nets import folding, models, preprocess, specialised
from src.readouts.base import Features
from src.records.embed import Embedding

CPU = torch.device("cpu")
SIZES = (256, 128, 64, 32, 16, 8, 4)


class Clock:
    """Time that passes only while an arm answers: as many seconds an image as each call is told."""

    def __init__(self, monkeypatch, paces: list[float]) -> None:
        self.now, self.paces, self.asked = 0.0, iter(paces), []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(energy, "meter", lambda _: lambda: 10 * self.now)  # ten watts

    def answer(self, index: np.ndarray) -> None:
        self.asked.append(index)
        self.now += next(self.paces) * len(index)


def test_the_median_round_counts_and_what_comes_before_warms_up(monkeypatch):
    clock = Clock(monkeypatch, [9.0, 0.01, *(0.01, 0.04, 0.01, 0.02, 0.03, 0.02, 0.02)])
    speed = timing.measure(clock.answer, np.arange(100, 120), batch=8, seconds=3.0, device=CPU)
    assert speed.seconds.value == pytest.approx(0.02)
    assert (speed.seconds.low, speed.seconds.high) == (pytest.approx(0.01), pytest.approx(0.04))
    fields = speed.fields()
    assert fields["images_per_second"] == pytest.approx(50)
    assert (fields["images_per_second_low"], fields["images_per_second_high"]) == (
        pytest.approx(25),
        pytest.approx(100),
    )
    assert speed.joules == pytest.approx(10 * 0.15 / 7)  # of the rounds alone


def test_rounds_are_whole_batches_of_the_same_images_that_fill_the_time(monkeypatch):
    """At 0.01 s an image a batch of 8 takes 0.08 s, and a seventh of 3 s has five of them: 40 images of 20."""
    clock = Clock(monkeypatch, [0.01] * 9)
    timing.measure(clock.answer, np.arange(100, 120), batch=8, seconds=3.0, device=CPU)
    assert [len(index) for index in clock.asked] == [8, 8, *[40] * ROUNDS]
    assert np.array_equal(clock.asked[-1], np.tile(np.arange(100, 120), 2))


class Greedy(nn.Module):
    """A network for which more than two images are too many."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 2:
            raise MemoryError
        return batch.flatten(1)


def test_batches_that_do_not_fit_are_halved_until_they_do(monkeypatch, capsys):
    monkeypatch.setattr(specialised, "place", lambda model, *_: model)
    monkeypatch.setattr(timing, "SECONDS", 0.01)
    images, view = np.zeros((8, 4, 4, 3), np.uint8), preprocess.View(4, (0.0,) * 3, (1.0,) * 3)
    accelerator = runtime.start("cpu", "fp32")
    speed = timing.network(Greedy(), images, np.arange(8), view=view, accelerator=accelerator)
    assert speed.seconds.value > 0
    said = [f"out of memory on cpu with batches of {batch} images; goes on with {batch // 2}" for batch in SIZES]
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.parametrize(("pace", "rounds"), [(0.05, 7), (0.2, 4), (1.0, 3)])
def test_a_slow_network_answers_one_batch_a_round_and_fewer_rounds(monkeypatch, pace, rounds):
    """Of 0.4, 1.6 and 8 seconds; they end after 6 seconds, but not before three rounds."""
    clock = Clock(monkeypatch, [pace] * 9)
    speed = timing.measure(clock.answer, np.arange(1000), batch=8, seconds=3.0, device=CPU)
    assert [len(index) for index in clock.asked] == [8] * (2 + rounds)
    assert speed.joules == pytest.approx(10 * pace)


def test_a_read_out_adds_its_time_and_energy_to_its_backbones(monkeypatch):
    clock = Clock(monkeypatch, [0.01] * 9)
    features = np.arange(30.0)[:, None]
    seen = []

    def logits(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        clock.answer(x)
        return x

    backbone = Speed(Interval(0.1, 0.05, 0.2), 3.0, CPU)
    speed = timing.readout(logits, features, np.array([3, 5]), backbone)
    assert (speed.seconds.value, speed.seconds.low) == (pytest.approx(0.11), pytest.approx(0.06))
    assert speed.seconds.high == pytest.approx(0.21)
    assert speed.joules == pytest.approx(3.1)
    assert set(np.concatenate(seen).ravel()) == {3.0, 5.0}
    monkeypatch.setattr(energy, "meter", lambda _: None)
    clock.paces = iter([0.01] * 9)
    assert timing.readout(logits, features, np.array([3]), Speed(backbone.seconds, None, CPU)).joules is None


def test_a_network_is_timed_folded_and_sees_the_images_as_everywhere_else(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.01)
    seen, folded = [], []
    model = models.build("resnet18", 3, seed=0).eval()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    model.register_forward_pre_hook(lambda module, _: folded.append(type(module.bn1) is nn.Identity))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    view = preprocess.view("resnet18", 32)
    index = np.array([7, 11])
    speed = timing.network(model, images, index, view=view, accelerator=Accelerator(cpu=True))
    expected = preprocess.to_input(torch.from_numpy(images[index]), view)
    first, *timed = seen  # one empty image tells the sizes of all maps
    assert first.shape == (1, 3, 32, 32)
    assert all(torch.equal(batch[:2], expected) for batch in timed)
    assert len(timed) >= 2 + FEWEST
    assert all(folded)
    assert 0 < speed.seconds.low <= speed.seconds.value <= speed.seconds.high


def embedding(arch: str) -> Embedding:
    """What the stage leaves of a backbone without its head."""
    model = models.without_head(models.build(arch, 1, 0))
    parameters = models.parameters(model)
    model = specialised.place(folding.fold(model), 32, CPU)
    cost = models.inference_cost(model, 32, Accelerator(cpu=True)) | {"parameters": parameters}
    return Embedding(images=1, seconds=1.0, images_per_second=1.0, **cost)


@pytest.mark.parametrize(("arch", "width"), [("resnet18", 512), ("convnext_tiny", 768)])
def test_a_linear_probe_costs_what_the_same_network_costs_fine_tuned(arch, width):
    parts = Features(np.zeros((9, width)), np.arange(9) % 5, np.zeros((0, width)), np.zeros(0, int))
    model = specialised.place(models.build(arch, 5, 0), 32, CPU)
    whole = models.inference_cost(model, 32, Accelerator(cpu=True))
    backbone = embedding(arch)
    expected = {name: whole[name] for name in ("parameters", "macs", "executed_macs")}
    assert frozen.head_size("linear", backbone, parts) == frozen.head_size("random_head", backbone, parts) == expected
    for name, rows, biases in (("knn", 9, 0), ("centroid", 5, 0), ("zero_shot", 1000, 1000)):
        size = frozen.head_size(name, backbone, parts)
        assert size["macs"] == backbone.macs + rows * width
        assert size["parameters"] == backbone.parameters + rows * width + biases
