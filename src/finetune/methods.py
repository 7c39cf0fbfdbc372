"""Fine-tune one backbone by each method, and save the results."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from src.core import seeds
from src.device import mps_check, runtime
from src.finetune import loop
from src.finetune.batches import Data
from src.finetune.checkpoint import Epoch, TrainState, curve_verdict
from src.finetune.config import Finetune
from src.finetune.part import kept
from src.nets import blocks, models, preprocess, specialised
from src.records.finetune import Training
from src.storage import files
from src.storage.resume import StateFile

Weights = tuple[dict[str, Tensor], dict[str, Any]]  # a state_dict and its origin, as `files.read_tensors` returns them


@dataclass(frozen=True)
class Setup:
    """One backbone and one subset: what all methods, or all trials of a search, share.

    Args:
        classes: the names of the K classes.
    """

    weights: Weights
    classes: Sequence[str]
    image_size: int
    normalisation: str
    seed: int
    data: Data
    accelerator: Accelerator
    config: Finetune

    @property
    def view(self) -> preprocess.View:
        origin = self.weights[1]
        return preprocess.view(origin["arch"], self.image_size, self.normalisation, weights=origin["weights"])

    def network(self) -> nn.Module:
        """A new network on the device."""
        model = new_model(self.weights, len(self.classes), self.seed, self.image_size)
        return specialised.place(model, self.image_size, self.accelerator.device)

    def train(self, model: nn.Module, method: str, config: Finetune, state: TrainState) -> Iterator[Epoch]:
        """Train in place by a method. Each of its phases has its own schedule; see `loop.train`."""
        done = 0
        for whole, epochs in phases(method, config.epochs):
            if state.epoch <= done + epochs:
                yield from loop.train(
                    model,
                    self.data,
                    config,
                    view=self.view,
                    seed=self.seed,
                    accelerator=self.accelerator,
                    state=state,
                    phase=loop.Phase(whole, done + 1, epochs),
                )
            done += epochs

    def cost(self, model: nn.Module, history: Sequence[Epoch]) -> dict[str, Any]:
        """The cost of some epochs."""
        watched, cut = len(self.data.watched.labels), blocks.cut(model, self.config.freeze, self.image_size)
        macs = models.macs(model, self.image_size)
        if cut is None:
            return loop.cost(history, macs, watched)
        once = len(self.data.train_index) + watched if kept(cut, self.data, self.config) else 0
        return loop.cost(history, macs, watched, models.macs(cut.first, self.image_size), once)


def phases(method: str, epochs: int) -> list[tuple[bool, int]]:
    """The phases of a method: (whether the whole network is trained, number of epochs).

    `full` trains everything, `head` the new head alone. `lp_ft` first probes, then fine-tunes from the probe's head, in
    the order of Kumar et al. (2022). They probe to convergence, and fine-tune at a smaller rate of its own. Here the
    same epochs are split between the two at one rate, so that no method is given more.
    """
    probe = epochs // 2
    return {
        "full": [(True, epochs)],
        "head": [(False, epochs)],
        "lp_ft": [(False, probe), (True, epochs - probe)],
    }[method]


def new_model(weights: Weights, classes: int, seed: int, image_size: int) -> nn.Module:
    """The pretrained backbone under a new head that is the same for every method, on the CPU."""
    state, origin = weights
    backbone = models.restore(origin["arch"], state, image_size, needs_head=False)
    return models.with_new_head(backbone, classes, seeds.derive(seed, "head"))


def finetune(
    checkpoints: Path, curves: Path, setup: Setup, *, state_file: StateFile, end: StateFile
) -> dict[str, Training]:
    """Train by every method from the same weights and the same new head; keep of each the epoch that the config says.

    Args:
        checkpoints: the folder that gets <method>.safetensors.
        curves: the folder that gets plots/metrics/{train,val}/*.tsv of the first method, and <method>/plots/metrics/...
            of the others.
        state_file: where the state is saved from time to time, and resumed from.
        end: where the state after the last epoch is kept, and where that of a shorter training may lie.

    Returns:
        The training by every method; by none in processes other than the first.
    """
    methods = setup.config.methods
    trainings = {}
    for method in methods:
        model = setup.network()
        if method == methods[0]:
            mps_check.require(model, setup.image_size)
        part = f"{method}-seed{setup.seed}"
        state = TrainState.load(state_file.part(part), setup.config, end.part(part))
        epochs = setup.train(model, method, setup.config, state)
        if not setup.accelerator.is_main_process:
            deque(epochs, maxlen=0)  # it trains the same; the first process writes for all
            continue
        where = curves if method == methods[0] else curves / method
        label = f"seed {setup.seed}" + (f", {method}" if len(methods) > 1 else "")
        log_epochs(itertools.chain(state.history, epochs), where, label, resumed=len(state.history))
        write_best(checkpoints / f"{method}.safetensors", state, setup, method)
        trainings[method] = training(state, setup, model)
        state.finish(setup.config.epochs)
    return trainings


def log_epochs(epochs: Iterable[Epoch], folder: Path, label: str, *, resumed: int = 0) -> None:
    """Log every epoch as it ends, and print those that follow the `resumed` ones, with the label of the training."""
    from dvclive import Live  # takes a third of a second, and a search does not log

    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:
        for epoch in epochs:
            live.step = epoch.number
            for part, kind in itertools.product(("train", "val"), ("loss", "accuracy")):
                live.log_metric(f"{part}/{kind}", getattr(epoch, f"{part}_{kind}"))
            live.next_step()  # which also tells VS Code's extension to draw again
            if epoch.number > resumed:
                print(f"{label}, {epoch}", flush=True)


def write_best(path: Path, state: TrainState, setup: Setup, method: str) -> None:
    """Write the weights of the epoch that is kept, with the recipe and every epoch in the header."""
    made_by = {"image_size": setup.image_size, "normalisation": setup.normalisation}
    made_by |= {"classes": setup.classes, "seed": setup.seed}
    made_by |= {"recipe": setup.config.recipe(), "method": method}
    curve = {"epoch": state.best.number, "history": [epoch.results() for epoch in state.history]}
    files.write_tensors(path, state.best_weights, {**setup.weights[1], **made_by, **curve})


def training(state: TrainState, setup: Setup, model: nn.Module) -> Training:
    """The record of a training that ended: the epoch that is kept, its curve and its cost."""
    return Training(
        best_epoch=state.best.number,
        history=[epoch.results() for epoch in state.history],
        val_accuracy=state.best.val_accuracy,
        convergence=curve_verdict(state.history, len(setup.data.watched.labels), setup.config.schedule),
        trained_parameters=models.parameters(model, trained=True),
        **setup.cost(model, state.history),
        peak_memory=runtime.peak_memory(setup.accelerator.device),
        environment=runtime.environment(setup.accelerator),
    )
