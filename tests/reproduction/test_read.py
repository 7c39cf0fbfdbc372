"""What the pages read of an experiment."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.records.finetune import Training, Trainings
from src.reproduction import read
from src.reproduction.rungs import Rung
from src.settings import protocols
from src.settings.settings import Settings
from src.storage import paths
from tests.helpers.toy_records import COST
from tests.reproduction.toy import MACHINE

LABELS = np.array([0, 1, 2, 1])


class Toy:
    """An experiment of 3 classes and two seeds that is all in memory; seed 1 gets one image less right."""

    name = "toy"

    def __init__(self, **settings):
        values = {"protocol": "report", "classes": 3, "seeds": [0, 7], **settings}
        self.settings = Settings.model_validate(protocols.filled(values))

    def by_seed(self, cell, adaptation):
        assert (cell, adaptation) in {("resnet.finetuned", "full"), ("convnext.frozen", "random_head")}
        answers = {0: LABELS, 7: np.array([0, 0, 2, 1])}
        watched = {0: np.array([0, 1, 2, 0]), 7: np.zeros(4, int)}
        arrays = {"labels": LABELS, "val_labels": LABELS, "index": np.array([5, 6, 8, 9])}
        eye = np.eye(3, dtype=np.float32)
        return {
            seed: arrays | {"logits": 9 * eye[answers[seed]], "val_logits": 9 * eye[watched[seed]]} for seed in answers
        }

    def array(self, path):
        assert path.parent == paths.features("convnext")
        index = np.array([1, 5, 6, 8, 9])
        return {"test_index.npy": index, "test.npy": np.repeat(index[:, None], 2, axis=1)}[path.name]

    def record(self, path, kind):
        assert kind is Trainings
        assert path.name == "finetune_resnet.json"
        epoch = {"number": 1.0, "train_loss": 0.4, "train_accuracy": 0.7, "val_loss": 0.3, "val_accuracy": 0.8}
        fields = {name: COST[name] for name in ("trained_parameters", "train_macs", "train_seconds", "peak_memory")}
        training = Training(
            best_epoch=1,
            history=[epoch, epoch | {"val_accuracy": 0.9}],
            val_accuracy=0.9,
            convergence="rising",
            images=10,
            train_images_per_second=1.0,
            environment=MACHINE,
            **fields,
        )
        return Trainings(seeds={"0": {"full": training}, "7": {"full": training}})


def test_a_run_has_the_watched_images_for_its_accuracy_and_plain_ones_of_two_classes_for_its_bar():
    run = read.run(Toy())
    assert run.right.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert run.bar.tolist() == run.head.tolist() == [[1, 1, 1], [1, 0, 1]]
    assert run.curves["val_accuracy"].tolist() == [[0.8, 0.9]] * 2
    assert run.losses[0] == pytest.approx([0.000247, 0.000247, 0.000247, 9.000247], abs=1e-5)


def test_a_rung_is_measured_on_the_images_that_it_says():
    plain, augmented = (read.measured(Rung("", (), augmented), Toy()) for augmented in (False, True))
    assert plain.index.tolist() == [5, 6, 8, 9]
    assert {seed: right.tolist() for seed, right in plain.legacy.items()} == {0: [1, 1, 1, 1], 7: [1, 0, 1, 1]}
    assert augmented.legacy[7].tolist() == [1, 0, 0, 0]
    assert augmented.modern[7].tolist() == plain.modern[7].tolist() == [1, 0, 1, 1]


def test_the_features_of_the_bars_images_are_those_at_their_positions():
    features, labels = read.base_features(Toy())
    assert features.tolist() == [[5, 5], [6, 6], [9, 9]]
    assert labels.tolist() == [0, 1, 1]


def test_an_experiment_of_another_protocol_is_one_line():
    with pytest.raises(UserError, match="toy: protocol = fair, classes = 3; the page is drawn from"):
        read.run(Toy(protocol="fair"))
