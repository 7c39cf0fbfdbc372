"""An experiment's predictions, read from files such as its stages write."""

import io

import numpy as np

from src.core.records import Interval
from src.experiments import read
from src.records.compare import BaseClasses, ComparedArm, Comparison, Cost
from tests.helpers.toy_records import COST, contrast

SETTINGS = {"classes": 2, "subset_seed": None, "prepare.shots": 3, "image_size": 32}
ARMS = ("resnet.full", "convnext.linear")


def packed(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def logits(*answers) -> np.ndarray:
    return np.eye(2)[list(answers)]


def comparison(seeds):
    half = Interval(0.5, 0.4, 0.6)
    arms = [
        ComparedArm(arm=arm, title=arm, accuracy=half, seeds={}, val_accuracy=0.5, cost=Cost(**COST)) for arm in ARMS
    ]
    return Comparison(
        n=3,
        classes=["cat", "dog"],
        seeds=seeds,
        confidence=0.95,
        margin=0.01,
        arms=arms,
        cells={"resnet.finetuned": ARMS[0], "convnext.frozen": ARMS[1]},
        best=ARMS[0],
        primary=contrast(),
        pairs=[],
        base_classes=BaseClasses(count=2, arms=[]),
    )


def files_of(seed, *, watched=(0, 1)):
    """The files of one seed; `watched` are the labels of the images that the fine-tuned network was validated on."""
    test = {"labels": np.array([0, 1, 0]), "index": np.array([5, 6, 7])}
    subset = {
        **{f"test_{key}": value for key, value in test.items()},
        "train_index": np.arange(6),
        "val_index": np.array([10 + seed, 20]),
        "val_labels": np.array([0, 1]),
    }
    folder = f"seed{seed}"
    return {
        f"data/subset/{folder}.npz": packed(**subset),
        f"data/predictions/resnet/{folder}/full.npz": packed(
            logits=logits(0, 1, 1), val_logits=logits(*watched), val_labels=np.array(watched), **test
        ),
        f"data/predictions/convnext/{folder}/linear.npz": packed(
            logits=logits(seed, 1, 0), val_logits=logits(0, 0), val_labels=np.array([0, 1]), **test
        ),
    }


def read_with(monkeypatch, files, seeds):
    monkeypatch.setattr(read, "read_cached", lambda _, path: files[path])
    return read.run_of("name", SETTINGS, comparison(seeds))


def test_a_run_holds_by_seed_what_each_arm_got_right(monkeypatch):
    run = read_with(monkeypatch, files_of(0) | files_of(1), [0, 1])
    assert tuple(run.condition) == ("first", 2, 3, 32)
    assert run.images == 3
    right = {seed: {arm: part.right[arm].tolist() for arm in ARMS} for seed, part in run.test.items()}
    assert right == {
        0: {"resnet.full": [True, True, False], "convnext.linear": [True, True, True]},
        1: {"resnet.full": [True, True, False], "convnext.linear": [False, True, True]},
    }
    assert run.validation[1].index.tolist() == [11, 20]
    assert run.validation[1].right["convnext.linear"].tolist() == [True, False]
    assert run.question == {"resnet.full": 1.0, "convnext.linear": -1.0}


def test_what_was_watched_on_test_images_is_no_validation(monkeypatch):
    run = read_with(monkeypatch, files_of(0, watched=(0, 1, 0)), [0])
    assert list(run.validation[0].right) == ["convnext.linear"]
