"""A fine-tuned arm has the scores of its network, and the cost of all of it."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from src.evaluate import finetuned, timing
from src.nets import models, preprocess
from src.records.finetune import Training, Trainings

CLASSES = ["cat", "dog", "owl"]
TRAINING = {"best_epoch": 1, "val_accuracy": 0.5, "convergence": "settled", "trained_parameters": 9, "images": 6}
TRAINING |= {"train_seconds": 4.0, "train_images_per_second": 2.0, "train_macs": 77, "peak_memory": 1}
HISTORY = [{"number": 1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}]
HEADER = {"arch": "resnet18", "weights": "random", "image_size": 32, "normalisation": "weights", "epoch": 1}


@pytest.fixture
def backbone() -> finetuned.FinetunedBackbone:
    rng = np.random.default_rng(0)
    part = {"index": np.arange(12), "labels": np.arange(12) % 3}
    subset = {f"{name}_{key}": value for name in ("val", "test") for key, value in part.items()}
    training = Training(**TRAINING, history=HISTORY, environment={"device": "cpu"})
    return finetuned.FinetunedBackbone(
        role="resnet",
        methods=["full"],
        checkpoint=lambda seed, _: (
            models.build("resnet18", 3, seed).state_dict(),
            HEADER | {"seed": seed, "classes": CLASSES},
        ),
        trainings=Trainings(seeds={str(seed): {"full": training} for seed in (4, 7)}),
        raw={split: rng.integers(0, 256, (12, 8, 8, 3), np.uint8) for split in ("train", "test")},
        subsets={4: subset, 7: subset},
        watch="validation",
        search=None,
    )


def test_every_seed_has_its_scores_and_all_have_one_speed(tmp_path, monkeypatch, backbone):
    monkeypatch.setattr(timing, "SECONDS", 0.01)
    result = finetuned.evaluate(
        tmp_path / "predictions", tmp_path / "plots", backbone=backbone, accelerator=Accelerator(cpu=True)
    )
    arms = [result.seeds[seed]["full"] for seed in ("4", "7")]
    for seed, arm in zip((4, 7), arms, strict=True):
        with np.load(tmp_path / "predictions" / f"seed{seed}" / "full.npz") as saved:
            assert arm.accuracy == (saved["logits"].argmax(1) == saved["labels"]).mean()
            model = models.build("resnet18", 3, seed).eval()
            images = torch.from_numpy(backbone.raw["test"])
            with torch.no_grad():
                logits = model(preprocess.to_input(images, preprocess.view("resnet18", 32)))
            np.testing.assert_allclose(saved["logits"], logits.numpy(), atol=1e-3)
    assert (arms[0].train_macs, arms[0].train_seconds) == (77, 4.0)
    assert arms[0].parameters == models.parameters(models.build("resnet18", 3, 0))
    assert arms[0].executed_macs < arms[0].macs == models.macs(models.build("resnet18", 3, 0), 32)
    assert arms[0].images_per_second_low <= arms[0].images_per_second <= arms[0].images_per_second_high
    assert arms[0].images_per_second == arms[1].images_per_second
