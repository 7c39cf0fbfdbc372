"""The search for a backbone's learning rate on validation images.

Each trial is one whole training by the loop that `finetune_*` uses, from the same weights, head and order of images.
The rates are a grid on a logarithmic scale around the published one, which is tried first: on validation images a
search is never worse than none. Every trial has the full number of epochs. Giving up the worse half early (successive
halving, Jamieson and Talwalkar 2016) would save a third of the epochs, but prefers the rates that are fast at first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from torch import nn

from src.core.errors import DivergedError, UserError
from src.core.grid import around
from src.device import mps_check
from src.finetune.checkpoint import Epoch, TrainState
from src.finetune.methods import Setup
from src.nets import models
from src.records.tune import SearchSummary, Trial
from src.storage.resume import StateFile

# Decades between neighbours, and from the published rate at most. By a step (a factor of 3.2) the accuracy changes by a
# few points, about as much as by a seed: finer ones would choose among noise. Five rates reach a decade to either side.
STEP, REACH = 0.5, 2.0
FEWEST = 20  # validation images: with fewer, the standard error of an accuracy may exceed 11 points


@dataclass(frozen=True)
class SearchSetup(Setup):
    """What every trial of a backbone shares; its data watch the validation images.

    Args:
        name: of the backbone, for people.
    """

    name: str

    @property
    def centre(self) -> float:
        """The rate in the middle of the grid."""
        lr = self.config.at(self.weights[1]["arch"]).lr
        assert lr is not None
        return lr

    @property
    def epoch_images(self) -> int:
        """Training images of an epoch."""
        size, steps = self.config.batches(len(self.data.train_index))
        return size * steps


def grid(centre: float, configurations: int) -> list[float]:
    """Learning rates around the published one, which is the first.

    An even number has one more above it than below: published rates are those of long trainings, and fewer steps take
    larger rates.
    """
    return around(centre, configurations, step=STEP, reach=REACH)


def search(setup: SearchSetup, state_file: StateFile, configurations: int) -> list[Trial]:
    """All trials of one backbone, the centre of the grid first. An interrupted search goes on where it was.

    Args:
        state_file: where each trial is saved when it ends, and the present one from time to time.

    Raises:
        UserError: there are several processes or no validation images, or someone asked to stop.
    """
    require(setup, configurations)
    noted = state_file.noted() if state_file.folder else {}
    done = [Trial(**trial) for trial in noted.get("trials", [])]
    for number, lr in enumerate(grid(setup.centre, configurations)[len(done) :], len(done) + 1):
        trial_file = state_file.part(f"{state_file.name}-{number}")
        done.append(run(setup, number, lr, trial_file))
        print(f"{setup.name}, trial {number} of {configurations}: {done[-1]}", flush=True)
        if state_file.folder:
            state_file.note({"trials": [trial.model_dump() for trial in done]})
            trial_file.path.unlink(missing_ok=True)
        state_file.leave_if_asked(f"after trial {number} of {setup.name}")
    return done


def require(setup: SearchSetup, configurations: int) -> None:
    """Refuse a search that cannot be, and say so if it can hardly tell rates apart.

    Raises:
        UserError: there are several processes or no validation images.
    """
    if setup.accelerator.num_processes > 1:
        raise UserError(
            f"tune.configurations = {configurations}: trials run in one process; run `dvc repro tune`, and after it "
            "finetune_* by torchrun"
        )
    images = len(setup.data.watched.labels)
    if not images:
        raise UserError(
            f"tune.configurations = {configurations}: there are no validation images to choose by; allowed is 1, or a "
            "prepare.val_fraction above 0"
        )
    if images < FEWEST:
        print(
            f"{setup.name}: with {images} validation images the standard error of an accuracy may exceed 11 points, so "
            f"the choice among {configurations} learning rates is mostly chance",
            flush=True,
        )


def run(setup: SearchSetup, number: int, lr: float, file: StateFile) -> Trial:
    """One training at a rate, resumed where it was interrupted."""
    config = setup.config.model_copy(update={"lr": lr})
    model = setup.network()
    if number == 1:
        mps_check.require(model, setup.image_size)
    state, diverged = TrainState.load(file, config), False
    try:
        for _ in setup.train(model, config.methods[0], config, state):
            pass
    except DivergedError:
        diverged = True
        setup.accelerator.free_memory()  # as `loop.train` does where it comes to its end
    history = [*state.history, diverged_epoch(model, state, setup.epoch_images)] if diverged else state.history
    cost = setup.cost(model, history)
    return Trial(
        lr=lr,
        diverged=diverged,
        accuracies=[epoch.val_accuracy for epoch in state.history],
        val_accuracy=None if diverged else state.best.val_accuracy,
        val_loss=None if diverged else state.best.val_loss,
        images=cost["images"],
        train_macs=cost["train_macs"],
        train_seconds=cost["train_seconds"],
    )


def diverged_epoch(model: nn.Module, state: TrainState, images: int) -> Epoch:
    """An epoch whose loss was not a number. It stands for its cost alone, and counts as a whole epoch."""
    whole = not models.only_head_learns(model)
    return Epoch(len(state.history) + 1, 0.0, 0.0, 0.0, 0.0, whole, images, state.seconds)


def summary(setup: SearchSetup, trials: Sequence[Trial]) -> SearchSummary:
    """The best trial, and the cost of all.

    Raises:
        UserError: all trials diverged.
    """
    ended = [trial for trial in trials if not trial.diverged]
    if not ended:
        raise UserError(
            f"finetune.lr = {setup.centre:g}: the loss of {setup.name} was no number at this rate and the "
            f"{len(trials) - 1} around it; try a smaller one"
        )
    best = reduce(lambda best, trial: trial if trial.beats(best) else best, ended)
    assert best.val_accuracy is not None  # it did not diverge
    rates = [trial.lr for trial in trials]
    return SearchSummary(
        configurations=len(trials),
        diverged=len(trials) - len(ended),
        best_trial=trials.index(best) + 1,
        lr=best.lr,
        at_edge=best.lr in (min(rates), max(rates)),
        val_accuracy=best.val_accuracy,
        first_val_accuracy=trials[0].val_accuracy,
        val_images=len(setup.data.watched.labels),
        images=sum(trial.images for trial in trials),
        train_macs=sum(trial.train_macs for trial in trials),
        train_seconds=sum(trial.train_seconds for trial in trials),
        trials=list(trials),
    )


def said(name: str, found: SearchSummary) -> str:
    """What was found, for people: the best rate, and whether a better one may lie beyond the grid."""
    rates = [trial.lr for trial in found.trials]
    text = f"{name}: the best of {found.configurations} learning rates is {found.lr:.3g}"
    if not found.at_edge:
        return text
    side = "largest" if found.lr == max(rates) else "smallest"
    return f"{text}, the {side}; a better one may lie beyond: set finetune.lr to it, or try more configurations"
