"""Combinations of all settings over tiny budgets, and the whole pipeline in this process.

What a setting may be is read from its model; `TINY` says so where a value costs time, or names a machine or a file.
"""

import functools
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import yaml
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from src.compare import budget, figures
from src.core import design
from src.core.errors import UserError
from src.data import classes, sources
from src.data.sources import Split
from src.evaluate import arm, timing
from src.nets import inference
from src.settings import protocols
from src.settings.settings import Settings, load
from src.storage import files
from stages import backbones, compare, download, embed, evaluate, finetune, inputs, prepare, report, robustness, tune
from stages import weights as stage_weights

ROOT = Path(__file__).parents[2]
TRAIN, TEST = 12, 4  # images of each class
ARCHS = st.sampled_from(
    ["timm/test_convnext", "timm/test_resnet", "timm/test_efficientnet", "timm/test_vit"] * 3 + ["shufflenet_v2_x0_5"]
)
ARMS = [f"{role}.{word}" for role in design.ROLES for word in ("frozen", "finetuned", "full", "head", "linear", "knn")]
BASE: dict[str, Any] = {
    "dataset": "digits",
    "device": "cpu",
    "classes": 2,
    "image_size": 32,
    "seeds": [0],
    "prepare.per_class": 8,
    "prepare.val_fraction": 0.3,
    "prepare.imbalance_ratio": 3.0,
    "resnet.arch": "timm/test_resnet",
    "resnet.weights": "random",
    "convnext.arch": "timm/test_convnext",
    "convnext.weights": "random",
    "finetune.epochs": 1,
    "finetune.batch_size": 8,
    "tune.configurations": 1,
    "robustness.images": 2,
    "robustness.severities": [1],
    "robustness.attacks": ["fgsm"],
    "robustness.epsilons": [1.0],
    "robustness.steps": 1,
}
TINY = {
    "dataset": st.sampled_from(["digits", "digits", "cifar10", "cifar100", "cifar100_coarse", "folder"]),
    "folder": st.sampled_from(["one", "two"]),  # for the dataset of this name, see `toy_folder`
    "classes": st.integers(2, 4) | st.just("names"),  # filled in with those of the dataset
    "image_size": st.sampled_from([32, 33, 48]),
    "seeds": st.sampled_from([1, 1, 1, 2]).flatmap(
        lambda count: st.lists(st.integers(0, 2**31 - 1), min_size=count, max_size=count, unique=True)
    ),
    "device": st.sampled_from(["cpu", "auto"]),
    "precision": st.sampled_from(["fp32", "auto", "bf16"]),
    "backbones": st.sampled_from([0, 0, 0, 0, 2])
    .flatmap(lambda count: st.lists(ARCHS.map("{}@random".format), min_size=count, max_size=count, unique=True))
    .map(lambda names: names or None),
    "download.max_side": st.sampled_from([8, 9, 256]),
    "prepare.per_class": st.integers(2, TRAIN + 2) | st.just("all"),
    "prepare.imbalance_ratio": st.floats(1, 4),
    "resnet.arch": ARCHS,
    "resnet.weights": st.just("random"),
    "convnext.arch": ARCHS,
    "convnext.weights": st.just("random"),
    "finetune.methods": st.lists(st.sampled_from(design.FINETUNED), min_size=1, max_size=2, unique=True),
    "finetune.epochs": st.integers(1, 2),
    "finetune.batch_size": st.integers(2, 30),
    "finetune.lr": st.none() | st.floats(1e-6, 0.01),
    "finetune.weight_decay": st.floats(0, 0.1),
    "tune.configurations": st.integers(1, 2),
    "compare.question": st.lists(st.sampled_from(ARMS), min_size=2, max_size=2, unique=True),
    "compare.contrasts": st.none() | st.just("those"),  # filled in with the backbones
    "robustness.enabled": st.sampled_from([False] * 5 + [True]),
    "robustness.images": st.integers(2, 4),
    "robustness.attacks": st.lists(st.sampled_from(["fgsm", "pgd", "square"]), max_size=1),
    "robustness.epsilons": st.lists(st.floats(0.01, 255), min_size=1, max_size=1),
    "robustness.severities": st.lists(st.integers(1, 5), min_size=1, max_size=1),
    "robustness.steps": st.just(1),
    "robustness.corrupted": st.none(),
}


def fields(model: type[BaseModel] = Settings, prefix: str = "") -> dict[str, FieldInfo]:
    """Every setting by its dotted name."""
    found = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= fields(kind, f"{name}.")
        else:
            found[prefix + name] = field
    return found


def values(kind: Any, limits: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """The values that a type allows within its limits, and near them; of numbers without an upper one the first few."""
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        return values(kind, (*limits, *(part for each in more for part in getattr(each, "metadata", [each]))))
    bound = {
        word: getattr(limit, word) for limit in limits for word in ("ge", "gt", "le", "lt") if hasattr(limit, word)
    }
    allowed = [each.json_schema_input_type for each in limits if hasattr(each, "json_schema_input_type")]
    if get_origin(kind) in (Union, UnionType):
        return st.one_of(*(values(part, limits) for part in get_args(kind)))
    if kind is str or get_origin(kind) is Literal:
        return st.sampled_from(get_args(allowed[0] if kind is str else kind))
    if get_origin(kind) is list:
        return st.lists(values(get_args(kind)[0]), min_size=1, max_size=3, unique=True)
    low, high = bound.get("ge", bound.get("gt", 0)), bound.get("le", bound.get("lt"))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        NoneType: st.none(),
        bool: st.booleans(),
        int: st.integers(low, min(low + 8, high if high is not None else low + 8)),
        float: st.floats(low, high, exclude_min="gt" in bound, exclude_max="lt" in bound),
    }
    return plain[kind]


@functools.cache
def combinations() -> st.SearchStrategy[dict[str, Any]]:
    """Any of the settings changed, in any way that its own type allows."""
    every = {
        name: TINY[name] if name in TINY else values(field.annotation, tuple(field.metadata))
        for name, field in fields().items()
    }
    return st.fixed_dictionaries({}, optional=every).map(lambda changed: BASE | changed)


def legal(drawn: Mapping[str, Any], folder: Path) -> Settings:
    """The settings of a combination, as params.yaml in this folder.

    Args:
        folder: see `toy_folder`.

    Raises:
        UserError: they do not go together.
    """
    chosen = dict(drawn)
    if chosen.get("protocol", "fair") != "fair":  # it decides the settings of these sections
        chosen = {name: value for name, value in chosen.items() if not name.startswith(protocols.DECIDED)}
    images = folder / chosen.pop("folder", "one")
    if chosen["dataset"] == "folder":
        chosen["folder"] = str(images)
    if chosen["classes"] == "names":
        chosen["classes"] = classes.class_names(chosen["dataset"], images)[2:5]
    if chosen.get("compare.contrasts"):
        chosen["compare.contrasts"] = {
            "size": chosen.get("backbones") or ["timm/test_resnet@random", "timm/test_convnext@random"]
        }
    sections: dict[str, Any] = {}
    for name, value in chosen.items():
        section, _, key = name.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    return load()


STAGES = {
    "inputs": inputs.main,
    "download": download.main,
    "weights": stage_weights.main,
    "prepare": prepare.main,
    "tune": tune.main,
    "finetune_resnet": lambda settings: finetune.main(settings, "resnet"),
    "finetune_convnext": lambda settings: finetune.main(settings, "convnext"),
    "embed_convnext": lambda settings: embed.main(settings, "convnext"),
    "embed_resnet": lambda settings: embed.main(settings, "resnet"),
    "eval_resnet": lambda settings: evaluate.main(settings, "resnet", "finetuned"),
    "eval_convnext_finetuned": lambda settings: evaluate.main(settings, "convnext", "finetuned"),
    "eval_convnext": lambda settings: evaluate.main(settings, "convnext", "frozen"),
    "eval_resnet_frozen": lambda settings: evaluate.main(settings, "resnet", "frozen"),
    "backbones": backbones.main,
    "compare": compare.main,
    "robustness": robustness.main,
    "report": report.main,
}
MAY_REFUSE = ("inputs", "prepare")  # what only the data shows: their classes, and how many images there are


def toy(names: int) -> dict[str, Split]:
    """Few images of 8 x 8 pixels of each class; the first test image of each is a training image too."""
    made = {}
    first = np.empty(0)
    for seed, (split, count) in enumerate((("train", TRAIN), ("test", TEST))):
        labels = np.tile(np.arange(names), count)
        pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
        if split == "test":
            pixels[:names] = first
        first = pixels[:names]
        made[split] = Split([pixels], (8, 8), labels.astype(np.int64))
    return made


def toy_folder(root: Path) -> Path:
    """Two folders of images of five classes, `one` and `two`."""
    for seed, name in enumerate(("one", "two")):
        rng = np.random.default_rng(seed)
        for split, count in (("train", TRAIN), ("test", TEST)):
            for kind in ("ape", "bee", "cat", "dog", "eel"):
                place = root / name / split / kind
                place.mkdir(parents=True)
                for number in range(count):
                    Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return root


@contextmanager
def toy_data() -> Iterator[None]:
    """Every dataset but a folder has few images, and what an image takes is measured once."""
    counts = {"cifar10": 10, "cifar100": 100, "cifar100_coarse": 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "digits", lambda: toy(10))
        patch.setattr(sources, "cifar", lambda dataset, _: toy(counts[dataset]))
        patch.setattr(inference, "batch_size", lambda *_: 8)
        for name, value in {"FEWEST": 1, "ROUNDS": 1, "MOST": 1, "IMAGES": 8}.items():
            patch.setattr(timing, name, value)
        for name in ("DVC_ROOT", "SWEEP_ROOT"):
            patch.delenv(name, raising=False)
        yield


@contextmanager
def undrawn() -> Iterator[None]:
    """No figures, which take longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_figure", lambda path, _: files.write_text(path, "not drawn"))
        patch.setattr(arm, "confusion", lambda *_: None)
        patch.setattr(arm, "curves", lambda *_: None)
        patch.setattr(figures, "all_figures", lambda *_: {})
        patch.setattr(budget, "figure", lambda *_: None)
        yield


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """TimeoutError if the block takes longer."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def start_in(folder: Path) -> None:
    """Make a folder that the stages can run in; the caller goes there."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder)


def run(settings: Settings, last: str = "report") -> str | None:
    """Run all stages up to the last one; the name of that which refuses the data, None if none does."""
    for name, stage in STAGES.items():
        try:
            with at_most(120):
                stage(settings)
        except UserError:
            if name in MAY_REFUSE:
                return name
            raise
        if name == last:
            break
    return None
