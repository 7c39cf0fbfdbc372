"""The search for a learning rate: whole trainings, seeded, and the same wherever it was interrupted."""

import csv
import dataclasses
import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from src.core.errors import UserError
from src.device import runtime
from src.finetune import methods
from src.finetune.checkpoint import TrainState
from src.nets import models, specialised
from src.records.tune import Trial
from src.storage.files import NOTHING, read_tensors
from src.storage.resume import StateFile
from src.tune import search as tune_search
from src.tune.search import SearchSetup
from tests.helpers import toy_training
from tests.helpers.toy_training import config, digits

CPU = runtime.start("cpu", "fp32")
OWN = {"epochs": 3, "lr": 0.003, "weight_decay": 1e-4}


def network(*_: object) -> nn.Module:
    """In place of a backbone, for what concerns the search and not what is trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """Memory is collected after each trial, which takes longer than a toy's training where PyTest has filled it."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(methods, "new_model", network)


def setup(*, seed: int = 0, accelerator: Any = CPU, **changes: Any) -> SearchSetup:
    chosen = config(**OWN | changes)
    origin = ({}, {"arch": "resnet18", "weights": "random"})
    return SearchSetup(origin, list("0123456789"), 8, "weights", seed, digits(), accelerator, chosen, name="a toy")


def search(file: StateFile | None = None, *, configurations: int = 5, **changes: Any) -> list[Trial]:
    return tune_search.search(setup(**changes), file or StateFile(name="toy"), configurations)


def untimed(trials: list[Trial]) -> list[dict]:
    return [trial.model_dump(exclude={"train_seconds"}) for trial in trials]


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "new_model", network)
        return search()


@pytest.mark.parametrize("number", [0, 3])
def test_every_trial_is_the_training_that_finetune_would_make_at_its_rate(result, number):
    trial, state = result[number], TrainState()
    placed = specialised.place(network(), 8, torch.device("cpu"))
    list(toy_training.finetune(placed, state=state, **OWN | {"lr": trial.lr}))
    assert trial.accuracies == [epoch.val_accuracy for epoch in state.history]
    assert (trial.val_accuracy, trial.val_loss) == (state.best.val_accuracy, state.best.val_loss)


def test_as_many_rates_are_tried_as_were_asked_for_and_the_centre_is_the_first(result):
    assert result[0].lr == 0.003
    assert [trial.lr for trial in result] == tune_search.grid(0.003, 5)
    assert {len(trial.accuracies) for trial in result} == {3}


def test_the_same_seed_finds_the_same_and_another_seed_something_else(result):
    assert untimed(search()) == untimed(result)
    assert untimed(search(seed=1)) != untimed(result)


def test_a_searched_rate_is_better_than_one_that_is_far_too_small():
    """All else equal: five rates around one at which next to nothing is learnt."""
    start = setup(lr=3e-4)
    found = tune_search.summary(start, tune_search.search(start, StateFile(), 5))
    assert found.val_accuracy > found.first_val_accuracy + 0.1
    assert (found.lr, found.at_edge) == (pytest.approx(3e-3), True)


def test_a_trial_costs_what_it_trained_and_validated_on(result):
    macs = models.macs(network(), 8)
    for trial in result:
        assert trial.images == 3 * 64  # three epochs of four batches of sixteen
        assert trial.train_macs == macs * (3 * 192 + 3 * 30)


def test_a_trial_whose_loss_becomes_no_number_costs_an_epoch_and_the_search_goes_on():
    trials = search(configurations=9, optimizer="sgd", lr=100.0)
    diverged = [trial for trial in trials if trial.diverged]
    assert 0 < len(diverged) < 9
    assert len(trials) == 9
    for trial in diverged:
        assert trial.images == 64 * (len(trial.accuracies) + 1)
        assert trial.train_seconds > 0
        assert trial.val_accuracy is None


def test_the_head_alone_costs_a_forward_pass():
    (head,) = search(configurations=1, methods=["head"])
    assert head.train_macs == models.macs(network(), 8) * (192 + 90)


def test_several_processes_are_refused_by_name():
    with pytest.raises(UserError, match=r"tune.configurations = 5: trials run in one process"):
        search(accelerator=SimpleNamespace(num_processes=2))


def validated_by(count: int) -> SearchSetup:
    all_images = setup()
    watched = all_images.data.watched
    few = dataclasses.replace(watched, index=watched.index[:count], labels=watched.labels[:count])
    return dataclasses.replace(all_images, data=dataclasses.replace(all_images.data, watched=few))


def test_no_validation_images_are_refused_by_name():
    with pytest.raises(UserError, match=r"tune.configurations = 5: there are no validation images to choose by"):
        tune_search.search(validated_by(0), StateFile(), 5)


@pytest.mark.parametrize(("count", "said"), [(19, True), (20, False)])
def test_too_few_validation_images_are_said(capsys, count, said):
    tune_search.require(validated_by(count), 5)
    assert ("a toy: with 19 validation images" in capsys.readouterr().out) == said


class CutError(Exception):
    """What stands for the end of a process."""


@dataclass
class Fragile(StateFile):
    """A place at which everything is saved, and the process ends after so many times."""

    left: list[int] = field(default_factory=lambda: [-1])

    def part(self, name: str) -> "Fragile":
        return Fragile(self.folder, name, asked=self.asked, left=self.left)

    def due(self) -> bool:
        return True

    def save(self, tensors, about):
        super().save(tensors, about)
        self.count()

    def note(self, about):
        super().note(about)
        self.count()

    def count(self) -> None:
        self.left[0] -= 1
        if self.left[0] == 0:
            raise CutError


def test_a_search_that_ends_at_any_step_goes_on_to_the_same_trials(result, tmp_path):
    """After a batch, an epoch or a trial: at steps 12 apart, all over the search, and thrice in one search."""
    undisturbed = Fragile(tmp_path / "undisturbed", "toy")
    search(undisturbed)
    steps = -1 - undisturbed.left[0]
    assert steps > 75  # 5 trials of 12 batches and 3 epochs, and a note after each trial
    assert [path.name for path in undisturbed.folder.iterdir()] == ["toy.json"]  # of a trial that ended nothing is kept
    for cuts in [*((cut,) for cut in range(3, steps, 12)), (5, 30, 20)]:
        place = Fragile(tmp_path / "-".join(map(str, cuts)), "toy")
        for cut in cuts:
            place.left[0] = cut
            with pytest.raises(CutError):
                search(place)
        place.left[0] = -1
        assert untimed(search(place)) == untimed(result)


def test_a_signal_is_answered(tmp_path):
    with pytest.raises(UserError, match="stopped by SIGINT in epoch 1, after 1 of its batches; the same command"):
        search(StateFile(tmp_path, "toy", asked=[signal.SIGINT]))


def test_one_configuration_trains_nothing_and_leaves_empty_outputs(tmp_path):
    code = "from src.settings.settings import Settings; from stages import tune; import sys\n"
    code += "tune.main(Settings(tune={'configurations': 1})); print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == ("False\n", "")
    assert (tmp_path / "data/tuned/best_params.yaml").read_text() == "{}\n"
    assert (tmp_path / "metrics/tune.json").read_text() == "{}\n"
    assert (tmp_path / "data/results/tune.json").read_text() == "{}\n"
    assert [path.name for path in (tmp_path / "plots/tune").iterdir()] == [NOTHING]


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "plots/tune/trials_resnet.csv").open() as file:
        return list(csv.DictReader(file))


OUTS = ("data/tuned/best_params.yaml", "plots/tune/trials_resnet.csv", "plots/pictures/tune/learning_rate.png")


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes_and_finetune_takes_what_was_found(make_clone):
    clone = make_clone()
    clone.configure(controls=False, tune={"configurations": 3}, finetune={"methods": ["head"]})
    clone.stages("inputs", "download", "weights", "prepare", "tune")
    assert not (clone.folder / "plots/tune/trials_convnext.csv").exists()
    expected = {name: (clone.folder / name).read_bytes() for name in OUTS}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RESUME_EVERY": "0", "PYTHONPATH": ""}
    run = subprocess.Popen([sys.executable, "-m", "stages.tune"], cwd=clone.folder, env=environment)
    while not list((clone.folder / "data/resume").glob("tune-*/resnet-2.safetensors")):
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert "resnet-2: resumed in epoch 1" in clone.stages("tune", "finetune_resnet")
    assert {name: (clone.folder / name).read_bytes() for name in OUTS} == expected
    assert not list((clone.folder / "data/resume").iterdir())
    _, about = read_tensors(clone.folder / "data/checkpoints/resnet/seed0/head.safetensors")
    best = yaml.safe_load((clone.folder / OUTS[0]).read_text())["resnet"]
    assert {name: about["recipe"][name] for name in best} == best
    result = clone.json("data/results/tune.json")["backbones"]
    assert clone.json("metrics/tune.json")["tune"] == {"resnet": {"lr": best["lr"]}}
    reached = clone.json("metrics/finetune_resnet.json")["finetune_resnet"]["head"]["val_accuracy"]
    assert result["resnet"]["val_accuracy"] == reached >= result["resnet"]["first_val_accuracy"]
    assert float(trials_of(clone.folder)[result["resnet"]["best_trial"] - 1]["lr"]) == best["lr"]
