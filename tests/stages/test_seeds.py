"""Several seeds in one experiment: every one has its own split and training, and an interrupted one goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data import sources
from src.finetune import batches, loop
from src.nets import models
from src.records.evaluate import Evaluations
from src.records.finetune import Trainings
from src.settings.protocols import filled
from src.settings.settings import Settings
from src.stats import scores
from src.storage import files, paths
from stages import evaluate, finetune, prepare, tune
from tests.helpers.cut import CutError
from tests.helpers.raw_files import write_raw

DVC_YAML = Path("dvc.yaml").resolve()


def settings(**changes: Any) -> Settings:
    plain = {"dataset": "digits", "classes": 2, "seeds": [0, 1], "device": "cpu"}
    return Settings.model_validate(filled(plain | changes))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Makes a folder with 26 images of two digits to train on and 14 to test, and a random network; we are there."""
    loaded = sources.digits()["train"]
    (pixels,) = loaded.images
    few = np.flatnonzero(loaded.labels < 2)[:40]

    def make(name: str, arch: str | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        Path("dvc.yaml").write_bytes(DVC_YAML.read_bytes())
        index = {"train": few[:26], "test": few[26:]}
        write_raw({split: (pixels[some], loaded.labels[some]) for split, some in index.items()}, list("0123456789"))
        if arch:
            state = models.build(arch, 1000, seed=0).state_dict()
            files.write_tensors(paths.weights("resnet"), state, {"arch": arch, "weights": "random"})
        files.write_empty(paths.BEST_PARAMS)
        return folder

    return make


def test_a_seeds_split_does_not_depend_on_the_other_seeds(place):
    made = []
    for seeds in ([0, 1, 2], [2, 0], [1]):
        place(f"{seeds}")
        prepare.main(settings(seeds=seeds))
        assert sorted(path.name for path in paths.SUBSET.glob("*.npz")) == [f"seed{seed}.npz" for seed in sorted(seeds)]
        made.append({seed: paths.subset(seed).read_bytes() for seed in seeds})
    assert made[1] == {seed: made[0][seed] for seed in (2, 0)}
    assert made[2][1] == made[0][1]
    assert len(set(made[0].values())) == 3


def test_the_test_images_are_the_same_under_every_seed(place):
    place("one")
    prepare.main(settings())
    first, second = (files.read_arrays(paths.subset(seed)) for seed in (0, 1))
    for name in ("test_index", "test_labels"):
        np.testing.assert_array_equal(first[name], second[name])


def test_a_stage_that_ends_in_its_second_seed_goes_on_after_the_first(place, monkeypatch):
    chosen = settings(finetune={"epochs": 2})
    epochs, cut = [], []
    train_epoch = loop.train_epoch

    def counted(network, batches, loss_fn, optimizer, trained, state):
        if len(epochs) in cut:
            cut.clear()
            raise CutError
        epochs.append(state.epoch)
        train_epoch(network, batches, loss_fn, optimizer, trained, state)

    monkeypatch.setattr(loop, "train_epoch", counted)

    def run(name: str) -> Path:
        folder = place(name, "shufflenet_v2_x0_5")
        prepare.main(chosen)
        finetune.main(chosen, "resnet")
        return folder

    whole = run("whole")
    assert epochs == [1, 2, 1, 2]
    epochs.clear()
    cut.append(2)
    with pytest.raises(CutError):
        run("cut")
    finetune.main(chosen, "resnet")
    assert epochs == [1, 2, 1, 2]
    for seed in chosen.seeds:
        saved = paths.of_seed(paths.checkpoints("resnet"), seed) / "full.safetensors"
        assert saved.read_bytes() == (whole / saved).read_bytes()
    records = [files.read_record(folder / paths.record("finetune_resnet"), Trainings) for folder in (whole, Path.cwd())]
    theirs, ours = ({seed: one["full"].history for seed, one in record.seeds.items()} for record in records)
    assert ours == theirs


def test_seeds_trials_and_backbones_share_the_images_on_the_device(place, monkeypatch):
    """Each stage is one process, which moves the training images to the device once, whatever it trains on them."""
    moved, used = [], []
    train = loop.train

    def resident(images, device):
        moved.append(torch.from_numpy(np.array(images)).to(device))
        return moved[-1]

    def seen(model, data, *arguments, **options):
        used.append((data.images, data.watched.images))
        return train(model, data, *arguments, **options)

    monkeypatch.setattr(batches, "resident", resident)
    monkeypatch.setattr(loop, "train", seen)
    place("shared", "shufflenet_v2_x0_5")
    files.write_tensors(paths.weights("convnext"), *files.read_tensors(paths.weights("resnet")))
    chosen = settings(finetune={"epochs": 1, "methods": ["full", "head"]}, tune={"configurations": 2}, controls=True)
    prepare.main(chosen)
    for stage, arguments, trainings in ((tune, (), 4), (finetune, ("resnet",), 4)):
        moved.clear()
        used.clear()
        stage.main(chosen, *arguments)
        assert len(moved) == 1
        assert len(used) == trainings  # of tune two rates for each role, then two methods under each of two seeds
        assert all(images is moved[0] and watched is moved[0] for images, watched in used)


def test_what_the_report_watched_is_measured_again_on_the_saved_networks(place):
    """The same augmented test images by the same weights: as many right, under every seed."""
    place("report", "resnet18")  # which learns enough in ten steps to tell images apart
    chosen = settings(protocol="report", seeds=[3, 5])
    prepare.main(chosen)
    tune.main(chosen)
    finetune.main(chosen, "resnet")
    evaluate.main(chosen, "resnet", "finetuned")
    trainings = files.read_record(paths.record("finetune_resnet"), Trainings)
    evaluations = files.read_record(paths.record("resnet"), Evaluations)
    for seed in (3, 5):
        training = trainings.seeds[str(seed)]["full"]
        saved = files.read_arrays(paths.of_seed(paths.predictions("resnet.finetuned"), seed) / "full.npz")
        watched = saved["val_logits"], saved["val_labels"]
        assert scores.accuracy(*watched) == training.history[-1]["val_accuracy"]
        assert scores.nll(*watched) == pytest.approx(training.history[-1]["val_loss"], rel=1e-5)
        assert training.best_epoch == len(training.history) == 5
        assert evaluations.seeds[str(seed)]["full"].val_accuracy == training.val_accuracy
        assert not np.array_equal(saved["val_logits"], saved["logits"])
        np.testing.assert_array_equal(saved["val_labels"], saved["labels"])
