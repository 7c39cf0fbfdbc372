"""The search for a learning rate and a weight decay on validation images, by Optuna.

Each trial is one training by the loop that `finetune_*` uses, from the same weights, head and order of images: the
first has finetune's own settings, so that on validation images a search is never worse than none. Later ones are
proposed by a tree-structured Parzen estimator (Bergstra et al. 2011) and given up early by the median rule (Golovin et
al. 2017: Vizier). Every backbone has the same number of trials and the same cap on training images.

Each trial is proposed by a study that is made anew from the trials before it, with a sampler seeded by the trial's
number. So a search that was interrupted and resumed proposes the same trials. With Optuna's own storages it would not:
there a trial that was cut off keeps its number.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState
from torch import nn

from src.core import seeds
from src.core.errors import DivergedError, UserError
from src.device import mps_check
from src.finetune.checkpoint import Epoch, TrainState
from src.finetune.config import Finetune
from src.finetune.methods import Setup
from src.storage.resume import StateFile
from src.tune.config import Tune

STARTUP = 5  # trials drawn at random before the estimator proposes any, and completed before one is given up
FEWEST = 20  # validation images: with fewer, the standard error of an accuracy may exceed 11 points

optuna.logging.set_verbosity(optuna.logging.WARNING)


SEARCHED = ("lr", "weight_decay")  # of `finetune`


@dataclass(frozen=True)
class Trial:
    """One trial: its settings, its results on validation images, and its cost."""

    number: int  # from 1
    state: str  # complete, pruned (given up by the median rule) or diverged (its loss was no number)
    params: dict[str, float]
    accuracies: list[float]  # of each epoch
    val_accuracy: float | None  # of the best epoch, and its cross-entropy in nats; none where no epoch ended
    val_loss: float | None
    images: int
    train_macs: int
    train_seconds: float

    def beats(self, other: "Trial") -> bool:
        """By validation accuracy, ties by the lower loss; a trial does not beat its equal."""
        ours, theirs = ((trial.val_accuracy or 0.0, -(trial.val_loss or math.inf)) for trial in (self, other))
        return ours > theirs

    def __str__(self) -> str:
        tried = ", ".join(f"{name} {value:.3g}" for name, value in self.params.items())
        reached = "no epoch" if self.val_accuracy is None else f"val accuracy {self.val_accuracy:.4f}"
        return f"{tried}: {self.state}, {reached}"


@dataclass(frozen=True)
class Search:
    """All trials of one backbone."""

    name: str  # of the backbone, for people
    config: Finetune  # the settings of the first trial
    trials: list[Trial]
    val_images: int  # on which every trial was judged
    images_cap: int  # so many all trials together were allowed to train on

    @property
    def best(self) -> Trial:
        """The best complete trial.

        Raises:
            UserError: there is none.
        """
        complete = [trial for trial in self.trials if trial.state == "complete"]
        if not complete:
            raise UserError(
                f"finetune.lr = {self.config.lr:g}: none of {len(self.trials)} trials of {self.name} around it came "
                "to its end; try a smaller learning rate"
            )
        return reduce(lambda best, trial: trial if trial.beats(best) else best, complete)


@dataclass(frozen=True)
class SearchSetup(Setup):
    """What every trial of a backbone shares; its config has the values from which the search starts.

    Args:
        name: of the backbone, for people.
    """

    name: str

    @property
    def epoch_images(self) -> int:
        """Training images of an epoch."""
        return math.prod(self.config.batches(len(self.data.train_index)))

    @property
    def trial_images(self) -> int:
        """Training images of a complete trial."""
        return self.config.epochs * self.epoch_images


def space(config: Finetune, factor: float) -> dict[str, BaseDistribution]:
    """The range of each setting, around its value, on a logarithmic scale. A setting that is 0 is not searched."""
    centres = {name: getattr(config, name) for name in SEARCHED if getattr(config, name) > 0}
    return {name: FloatDistribution(value / factor, value * factor, log=True) for name, value in centres.items()}


def study_of(trials: Sequence[Trial], distributions: dict[str, BaseDistribution], setup: SearchSetup) -> optuna.Study:
    """An Optuna study of the trials so far; its `ask` proposes the next one."""
    number = len(trials) + 1
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=STARTUP, seed=seeds.derive(setup.seed, "tune", number) % 2**32
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    for trial in trials:
        reported = dict(enumerate(trial.accuracies, 1))
        complete = trial.state == "complete"  # one that diverged ranks last among those given up
        finished = optuna.create_trial(
            state=TrialState.COMPLETE if complete else TrialState.PRUNED,
            value=trial.val_accuracy if complete else None,
            params=trial.params,
            distributions=distributions,
            intermediate_values=reported,
        )
        study.add_trial(finished)
    if not trials:
        study.enqueue_trial({name: float(getattr(setup.config, name)) for name in distributions})
    return study


def search(setup: SearchSetup, state_file: StateFile, tune: Tune) -> Search:
    """All trials of one backbone. A search that was interrupted goes on after its last trial.

    Args:
        state_file: where each trial is saved when it ends, and the present one from time to time.

    Raises:
        UserError: there are several processes or too few validation images, `tune.images` does not suffice for two
            trials, or someone asked to stop.
    """
    cap = tune.trials * setup.trial_images if tune.images is None else tune.images
    require(setup, cap)
    distributions = space(setup.config, tune.factor)
    noted = state_file.noted() if state_file.folder else {}
    done = [Trial(**trial) for trial in noted.get("trials", [])]
    while len(done) < tune.trials and spent(done) + setup.trial_images <= cap:
        trial_file = state_file.part(f"{state_file.name}-{len(done) + 1}")
        done.append(run(setup, study_of(done, distributions, setup).ask(distributions), trial_file))
        print(f"{setup.name}, trial {len(done)} of {tune.trials}: {done[-1]}", flush=True)
        if state_file.folder:
            state_file.note({"trials": [asdict(trial) for trial in done]})
            trial_file.path.unlink(missing_ok=True)
        state_file.leave_if_asked(f"after trial {len(done)} of {setup.name}")
    return Search(setup.name, setup.config, done, len(setup.data.val_index), cap)


def require(setup: SearchSetup, cap: int) -> None:
    """Refuse a search that cannot tell settings apart.

    Raises:
        UserError: there are several processes or too few validation images, or `cap` images are too few for two trials.
    """
    if setup.accelerator.num_processes > 1:
        raise UserError(
            "tune.enabled = true: trials run in one process; run `dvc repro tune`, and after it finetune_* by torchrun"
        )
    if len(setup.data.val_index) < FEWEST:
        raise UserError(
            f"tune.enabled = true: {len(setup.data.val_index)} validation images cannot tell settings apart; needed "
            f"are {FEWEST} or more: more classes, a larger prepare.val_fraction or prepare.per_class"
        )
    if cap < 2 * setup.trial_images:
        raise UserError(
            f"tune.images = {cap}: two trials alone train on {2 * setup.trial_images}; allowed are so many or more, "
            "and null"
        )


def run(setup: SearchSetup, proposed: optuna.Trial, file: StateFile) -> Trial:
    """One training, resumed where it was interrupted; the median rule may end it after any epoch but the last."""
    model = setup.network()
    if proposed.number == 0:
        mps_check.require(model, setup.image_size)
    state, start, outcome = TrainState.load(file), time.perf_counter(), "complete"
    for epoch in state.history:
        proposed.report(epoch.val_accuracy, epoch.number)
    config = setup.config.model_copy(update=proposed.params)
    try:
        for epoch in setup.train(model, config.methods[0], config, state):
            proposed.report(epoch.val_accuracy, epoch.number)
            if epoch.number < config.epochs and proposed.should_prune():
                outcome = "pruned"
                break
    except DivergedError:
        outcome = "diverged"
    history = list(state.history)
    if outcome != "complete":
        setup.accelerator.free_memory()  # as `loop.train` does where it comes to its end
    if outcome == "diverged":
        history.append(diverged_epoch(model, len(history) + 1, setup.epoch_images, time.perf_counter() - start))
    return record(proposed, outcome, state, setup.cost(model, history))


def diverged_epoch(model: nn.Module, number: int, images: int, seconds: float) -> Epoch:
    """An epoch whose loss was not a number. It stands for its cost alone, and counts as a whole epoch."""
    whole = all(parameter.requires_grad for parameter in model.parameters())
    return Epoch(number, math.inf, 0.0, math.inf, 0.0, whole, images, seconds)


def record(proposed: optuna.Trial, outcome: str, state: TrainState, cost: Mapping[str, Any]) -> Trial:
    """The trial as it is saved."""
    best = state.best if state.history else None
    return Trial(
        number=proposed.number + 1,
        state=outcome,
        params=proposed.params,
        accuracies=[epoch.val_accuracy for epoch in state.history],
        val_accuracy=best.val_accuracy if best else None,
        val_loss=best.val_loss if best else None,
        images=cost["images"],
        train_macs=cost["train_macs"],
        train_seconds=cost["train_seconds"],
    )


def spent(trials: Sequence[Trial]) -> int:
    """Images trained on so far."""
    return sum(trial.images for trial in trials)
