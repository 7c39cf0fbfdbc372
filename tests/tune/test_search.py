"""The search for settings: fair, seeded, within its budget, and the same wherever it was interrupted."""

import csv
import dataclasses
import gc
import os
import signal
import statistics
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
from src.nets import models
from src.storage.files import read_tensors
from src.storage.resume import StateFile
from src.tune import results
from src.tune import search as tune_search
from src.tune.config import Tune
from src.tune.search import Search, SearchSetup
from tests.helpers import toy_training
from tests.helpers.toy_training import config, digits

CPU = runtime.start("cpu", "fp32")
OWN = {"epochs": 3, "lr": 0.003, "weight_decay": 1e-4}
BUDGET: dict[str, Any] = {"trials": 12, "factor": 30.0, "images": None}
IMAGES = 3 * 64  # of a trial: three epochs of four batches of sixteen


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
    origin = ({}, {"arch": "resnet18"})
    return SearchSetup(origin, list("0123456789"), 8, seed, digits(), accelerator, chosen, name="a toy")


def search(file: StateFile | None = None, *, budget: dict | None = None, **changes: Any) -> Search:
    return tune_search.search(setup(**changes), file or StateFile(name="toy"), Tune(**BUDGET | (budget or {})))


def untimed(result: Search) -> list[dict]:
    rows = [dataclasses.asdict(trial) for trial in result.trials]
    return [{name: value for name, value in row.items() if name != "train_seconds"} for row in rows]


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "new_model", network)
        return search()


def test_the_first_trial_is_finetunes_own_recipe_and_reaches_what_finetune_does(result):
    state = TrainState()
    list(toy_training.finetune(network(), state=state, **OWN))
    first = result.trials[0]
    assert first.params == {"lr": 0.003, "weight_decay": 1e-4}
    assert first.accuracies == [epoch.val_accuracy for epoch in state.history]
    assert (first.val_accuracy, first.val_loss) == (state.best.val_accuracy, state.best.val_loss)


def test_every_trial_lies_within_the_factor_and_no_two_are_the_same(result):
    for name, centre in (("lr", 0.003), ("weight_decay", 1e-4)):
        values = [trial.params[name] for trial in result.trials]
        assert len(set(values)) == 12
        assert centre / 30 <= min(values) < centre < max(values) <= centre * 30


def test_a_weight_decay_of_zero_stays_zero():
    result = search(budget={"trials": 3}, weight_decay=0.0)
    assert [set(trial.params) for trial in result.trials] == [{"lr"}] * 3
    assert {row[3] for row in results.rows(result)} == {0.0}


def test_the_same_seed_tries_and_finds_the_same_and_another_seed_something_else(result):
    assert untimed(search()) == untimed(result)
    assert [trial.params for trial in search(seed=1).trials[1:]] != [trial.params for trial in result.trials[1:]]


def test_every_backbone_is_offered_the_same_until_results_tell_them_apart(result, monkeypatch):
    monkeypatch.setattr(methods, "new_model", lambda *_: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 10)))
    other = search()
    offered = [[trial.params for trial in search.trials] for search in (result, other)]
    assert offered[0][: tune_search.STARTUP] == offered[1][: tune_search.STARTUP]
    assert offered[0] != offered[1]


def test_a_tuned_rate_is_better_than_one_that_is_far_too_small():
    """All else equal: 12 trials around a rate at which next to nothing is learnt."""
    result = search(lr=1e-4)
    assert result.best.val_accuracy > result.trials[0].val_accuracy + 0.1
    assert result.best.params["lr"] > 3e-4


def test_a_trial_whose_best_epoch_is_below_the_median_is_given_up(result):
    """The median rule, by hand."""
    for trial in result.trials:
        before = [other for other in result.trials[: trial.number - 1] if other.state == "complete"]
        for epoch in (1, 2):  # after the last one nothing is left to give up
            if epoch > len(trial.accuracies):
                break
            enough = len(before) >= tune_search.STARTUP
            median = statistics.median(other.accuracies[epoch - 1] for other in before) if enough else 0
            given_up = trial.state == "pruned" and epoch == len(trial.accuracies)
            assert given_up == (enough and max(trial.accuracies[:epoch]) < median)
    assert {trial.state for trial in result.trials} == {"complete", "pruned"}


def test_a_trial_costs_what_it_trained_on(result):
    macs = models.macs(network(), 8)
    for trial in result.trials:
        assert trial.images == 64 * len(trial.accuracies)
        assert trial.train_macs == 3 * macs * trial.images
    assert result.images_cap == 12 * IMAGES > sum(trial.images for trial in result.trials)


def test_no_trial_is_begun_that_might_exceed_the_cap():
    result = search(budget={"images": 3 * IMAGES + 100})
    assert [trial.images for trial in result.trials] == [IMAGES] * 3
    assert result.images_cap == 3 * IMAGES + 100


def test_a_trial_whose_loss_becomes_no_number_costs_an_epoch_and_the_search_goes_on():
    result = search(budget={"trials": 4, "factor": 1e4}, optimizer="sgd", lr=100.0)
    diverged = [trial for trial in result.trials if trial.state == "diverged"]
    assert result.best.state == "complete"
    assert diverged
    for trial in diverged:
        assert trial.images == 64 * (len(trial.accuracies) + 1)
        assert trial.train_seconds > 0


def test_the_head_alone_costs_a_forward_pass(result):
    head = search(budget={"trials": 2}, methods=["head"])
    assert head.trials[0].train_macs * 3 == result.trials[0].train_macs


@pytest.mark.parametrize(
    ("budget", "changes", "said"),
    [
        ({"images": 2 * IMAGES - 1}, {}, f"tune.images = {2 * IMAGES - 1}: two trials alone train on {2 * IMAGES}"),
        ({}, {"accelerator": SimpleNamespace(num_processes=2)}, "tune.enabled = true: trials run in one process"),
    ],
)
def test_a_search_that_cannot_be_is_refused_by_name(budget, changes, said):
    with pytest.raises(UserError, match=said):
        search(budget=budget, **changes)


def test_too_few_validation_images_are_refused_by_name():
    few = setup()
    few = dataclasses.replace(few, data=dataclasses.replace(few.data, val_index=few.data.val_index[:19]))
    with pytest.raises(UserError, match=r"tune.enabled = true: 19 validation images cannot tell settings apart"):
        tune_search.search(few, StateFile(), Tune(**BUDGET))


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
    """After a batch, an epoch or a trial: at steps 29 apart, all over the search, and thrice in one search."""
    undisturbed = Fragile(tmp_path / "undisturbed", "toy")
    search(undisturbed)
    steps = -1 - undisturbed.left[0]
    assert steps > 100
    assert [path.name for path in undisturbed.folder.iterdir()] == ["toy.json"]  # of a trial that ended nothing is kept
    for cuts in [*((cut,) for cut in range(10, steps, 60)), (5, 30, 50)]:
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


def test_a_search_that_is_off_leaves_empty_outputs_without_torch_or_optuna(tmp_path):
    code = "from src.settings.settings import Settings; from stages import tune; import sys; tune.main(Settings())\n"
    code += "print([name for name in ('torch', 'optuna') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == ("[]\n", "")
    assert (tmp_path / "data/tuned/best_params.yaml").read_text() == "{}\n"
    assert (tmp_path / "metrics/tune.json").read_text() == "{}\n"
    assert (tmp_path / "data/results/tune.json").read_text() == "{}\n"
    assert list((tmp_path / "plots/tune").iterdir()) == []


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "plots/tune/trials_resnet.csv").open() as file:
        return list(csv.DictReader(file))


OUTS = ("data/tuned/best_params.yaml", *(f"plots/tune/{name}" for name in ("trials_resnet.csv", "history.png")))


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes_and_finetune_takes_what_was_found(make_clone):
    clone = make_clone()
    clone.configure(controls=False, tune={"enabled": True, "trials": 3}, finetune={"methods": ["head"]})
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
    _, about = read_tensors(clone.folder / "data/checkpoints/resnet/head.safetensors")
    best = yaml.safe_load((clone.folder / OUTS[0]).read_text())["resnet"]
    assert {name: about["recipe"][name] for name in best} == best
    result = clone.json("metrics/tune.json")["tune"]
    reached = clone.json("metrics/finetune_resnet.json")["finetune_resnet"]["head"]["val_accuracy"]
    assert result["resnet"]["val_accuracy"] == reached >= result["resnet"]["first_val_accuracy"]
    assert [float(row["lr"]) for row in trials_of(clone.folder)][result["resnet"]["best_trial"] - 1] == best["lr"]
