"""Whatever legal settings meet: the whole pipeline ends well, and a setting that must change a result changes it.

COMBINATIONS=1000 python -m pytest tests/pipeline/test_combinations.py tries more.
"""

import json
import os
import shutil
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from safetensors.torch import save_file

from src import verify
from src.core.errors import UserError
from src.nets import models
from tests.helpers import combinations
from tests.helpers.combinations import fields

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("COMBINATIONS", 200))
TRIED: Counter[str] = Counter()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return combinations.toy_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder in which the stages can run; we are there."""
    combinations.start_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    with combinations.toy_data():
        yield tmp_path


def test_every_setting_is_drawn():
    assert set(combinations.TINY) <= set(fields())
    assert set(combinations.BASE) <= set(fields())


# Without shrinking, which would run the pipeline for minutes.
@settings(max_examples=COUNT, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(drawn=combinations.combinations())
def check(images: Path, drawn: dict) -> None:
    TRIED["drawn"] += 1
    shutil.rmtree("data", ignore_errors=True)
    try:
        chosen = combinations.legal(drawn, images)
    except UserError as error:
        TRIED["refused as settings"] += 1
        one_line(error)
        reject()
    drawing = nullcontext() if TRIED["run"] % 20 == 0 else combinations.undrawn()
    with drawing:
        refusing = combinations.run(chosen, "report" if TRIED["run"] % 20 == 0 else "robustness")
    if refusing:
        TRIED[f"refused by {refusing}"] += 1
        reject()
    TRIED["run"] += 1


def one_line(error: UserError) -> None:
    assert len(str(error).splitlines()) == 1


def test_any_legal_combination_runs_to_its_end(images):
    check(images)
    print(dict(TRIED))
    assert TRIED["run"] >= COUNT


@dataclass(frozen=True)
class Change:
    """A value of a setting that changes what a stage leaves, where other settings make room for it."""

    value: Any
    stage: str
    shows: str
    where: dict[str, Any] = field(default_factory=dict)


SUBSET = ("prepare", "data/subset")
TRAINED = ("finetune_resnet", "data/checkpoints/resnet")
EMBEDDED = ("embed_convnext", "data/features/convnext")
COMPARED = ("compare", "data/results/compare.json")
ROBUST = ("robustness", "data/results/robustness.json")
SGD = {"finetune.optimizer": "sgd", "finetune.lr": 0.01}
WILD = {"finetune.epochs": 8, "finetune.lr": 0.02}  # no epoch is the best for long
LISTED = {"backbones": ["timm/test_resnet@random", "timm/test_vit@random"]}
ATTACKED = {"robustness.enabled": True}
CHANGES = {
    "protocol": Change("report", *TRAINED),
    "dataset": Change("cifar10", "download", "data/raw"),
    "folder": Change("two", "download", "data/raw", {"dataset": "folder"}),
    "classes": Change(3, *SUBSET),
    "subset_seed": Change(1, *SUBSET),
    "image_size": Change(48, *EMBEDDED),
    "normalisation": Change("half", *EMBEDDED, {"convnext.arch": "timm/test_efficientnet"}),
    "seeds": Change([1], *SUBSET),
    "precision": Change("bf16", *TRAINED),
    "controls": Change(False, "finetune_convnext", "data/checkpoints/convnext"),
    "backbones": Change(LISTED["backbones"], "backbones", "data/results/backbones.json"),
    "download.max_side": Change(8, "download", "data/raw", {"dataset": "folder"}),
    "prepare.val_fraction": Change(0.5, *SUBSET),
    "prepare.per_class": Change(6, *SUBSET),
    "prepare.shots": Change(2, *SUBSET),
    "prepare.without_duplicates": Change(True, *SUBSET),
    "prepare.imbalance": Change("step", *SUBSET),
    "prepare.imbalance_ratio": Change(1.5, *SUBSET, {"prepare.imbalance": "long_tailed"}),
    "resnet.arch": Change("timm/test_efficientnet", "weights", "data/weights/resnet.safetensors"),
    "resnet.weights": Change("resnet.safetensors", "weights", "data/weights/resnet.safetensors"),
    "convnext.arch": Change("timm/test_vit", "weights", "data/weights/convnext.safetensors"),
    "convnext.weights": Change("convnext.safetensors", "weights", "data/weights/convnext.safetensors"),
    "finetune.methods": Change(["head"], *TRAINED),
    "finetune.freeze": Change(0.5, *TRAINED),
    "finetune.epochs": Change(2, *TRAINED),
    "finetune.batch_size": Change(4, *TRAINED),
    "finetune.drop_last": Change(False, *TRAINED),
    "finetune.optimizer": Change("sgd", *TRAINED),
    "finetune.lr": Change(0.01, *TRAINED),
    "finetune.momentum": Change(0.5, *TRAINED, SGD),
    "finetune.nesterov": Change(False, *TRAINED, SGD),
    "finetune.weight_decay": Change(0.1, *TRAINED),
    "finetune.schedule": Change("cosine", *TRAINED, {"finetune.epochs": 2}),
    "finetune.warmup": Change(0.5, *TRAINED, {"finetune.epochs": 2}),
    "finetune.ema": Change(0.5, *TRAINED),
    "finetune.patience": Change(1, "finetune_resnet", "data/results/finetune_resnet.json", WILD),
    "finetune.watch": Change("test", "finetune_resnet", "data/results/finetune_resnet.json"),
    "finetune.keep": Change("last", *TRAINED, WILD),
    "finetune.augment": Change(False, *TRAINED),
    "finetune.policy": Change("randaugment", *TRAINED),
    "finetune.erasing": Change(1.0, *TRAINED),
    "finetune.mix": Change("mixup", *TRAINED),
    "finetune.mix_alpha": Change(0.1, *TRAINED, {"finetune.mix": "mixup"}),
    "finetune.label_smoothing": Change(0.3, *TRAINED),
    "finetune.balance": Change("weights", *TRAINED, {"prepare.imbalance": "step"}),
    "tune.configurations": Change(2, "tune", "data/tuned/best_params.yaml"),
    "frozen.readouts": Change(["centroid"], "eval_convnext", "data/predictions/convnext"),
    "compare.question": Change(["resnet.frozen", "convnext.frozen"], *COMPARED),
    "compare.margin": Change(0.2, *COMPARED),
    "compare.contrasts": Change("those", *COMPARED, LISTED),
    "compare.base_classes": Change(3, *COMPARED, {"classes": 3}),
    "compare.confidence": Change(0.8, *COMPARED),
    "robustness.enabled": Change(True, *ROBUST),
    "robustness.images": Change(3, *ROBUST, ATTACKED),
    "robustness.severities": Change([2, 3], *ROBUST, ATTACKED),
    "robustness.attacks": Change(["fgsm", "pgd"], *ROBUST, ATTACKED),
    "robustness.epsilons": Change([1.0, 8.0], *ROBUST, ATTACKED),
}
CHANGE_NOTHING_HERE = {  # and why
    "device": "auto is the CPU where there is nothing else",
    "deterministic": "the CPU always is",
    "specialised": "other ways to the same numbers, see nets/test_specialised",
    "resume": "changes no result",
    "finetune.extendable": "keeps the end of a training for a longer one",
    "robustness.steps": "toy networks fall to one step as to ten, see robustness/test_attacks",
    "robustness.corrupted": "other files, see robustness/test_cifar_c",
}


def test_a_setting_that_must_change_a_result_changes_it(images, place, monkeypatch):
    assert CHANGES.keys() | CHANGE_NOTHING_HERE.keys() == fields().keys()
    assert not CHANGES.keys() & CHANGE_NOTHING_HERE.keys()
    for role, arch in (("resnet", "timm/test_resnet"), ("convnext", "timm/test_convnext")):
        save_file(models.build(arch, 1000, seed=7).state_dict(), place / f"{role}.safetensors")
    done: dict[str, str] = {}

    def left(drawn: dict[str, Any], change: Change) -> Any:
        """What a stage leaves, in a folder of its own."""
        folder = place / f"{len(done)}"
        combinations.start_in(folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SWEEP_ROOT", str(place))  # where the files of weights are
        with combinations.undrawn():
            assert combinations.run(combinations.legal(drawn, images), change.stage) is None
        made = contents(folder / change.shows)
        shutil.rmtree(folder)
        return made

    same = []
    for name, change in CHANGES.items():
        base = combinations.BASE | change.where
        key = json.dumps([change.stage, change.shows, change.where])
        if key not in done:
            done[key] = left(base, change)
        if left(base | {name: change.value}, change) == done[key]:
            same.append(name)
    assert same == []


def contents(path: Path) -> Any:
    """The bytes of all files of a folder by their names; of a record the numbers, without times."""
    if path.suffix == ".json":
        return verify._numbers(path)
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(each.relative_to(path)): each.read_bytes() for each in paths if each.is_file()}
