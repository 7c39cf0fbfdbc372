"""What a finished experiment leaves for `src.predict` and `src.export`, made in seconds: networks are not trained."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml

from src.compare import results
from src.compare.config import Compare
from src.core import design, seeds
from src.data import sources
from src.evaluate import arm as arms
from src.evaluate import frozen
from src.nets import models, preprocess
from src.readouts import fit
from src.readouts.base import Features
from src.records.evaluate import Evaluation, Evaluations
from src.storage import features as features_of
from src.storage import files, paths
from stages.weights import load_weights
from tests.helpers.raw_files import write_raw
from tests.helpers.toy_records import COST

CLASSES = ["zero", "one | uno", "<two>"]
SEEDS = (0, 1)
SIZE = 32
ARCHS = {"resnet": "resnet18", "convnext": "efficientnet_lite0"}
SETTINGS = {
    "dataset": "digits",
    "device": "cpu",
    "classes": 3,
    "seeds": list(SEEDS),
    "image_size": SIZE,
    "controls": False,
    "tune": {"configurations": 1},
    "frozen": {"readouts": ["linear", "knn"]},
    "resnet": {"arch": "resnet18", "weights": "random"},
    "convnext": {"arch": "efficientnet_lite0"},
}


def features(model: torch.nn.Module, arch: str, pixels: np.ndarray) -> np.ndarray:
    """The outputs of a network in one batch, without any of the project's faster ways."""
    with torch.no_grad():
        return model.eval()(preprocess.to_input(torch.from_numpy(pixels), preprocess.view(arch, SIZE))).numpy()


class ToyExperiment:
    """Its images and their labels, by split; and by arm and seed its predictions."""

    def __init__(self) -> None:
        self.predictions: dict[str, dict[int, arms.Predictions]] = {}
        self.evaluations: dict[str, dict[int, Evaluation]] = {}
        Path("params.yaml").write_text(yaml.safe_dump(SETTINGS))
        self.images()
        self.finetuned()
        self.frozen()
        self.records()

    def images(self) -> None:
        loaded = sources.digits()
        chosen = {split: np.flatnonzero(part.labels < 3)[:40] for split, part in loaded.items()}
        (train,), (test,) = (loaded[split].images for split in ("train", "test"))
        self.raw = {"train": train, "test": test}
        write_raw(
            {split: (pixels, loaded[split].labels) for split, pixels in self.raw.items()},
            [str(digit) for digit in range(10)],
        )
        labels = {split: loaded[split].labels[index] for split, index in chosen.items()}
        self.subsets = {}
        for seed in SEEDS:
            order = np.random.default_rng(seed).permutation(40)
            parts = {"train": ("train", order[:30]), "val": ("train", order[30:]), "test": ("test", np.arange(40))}
            arrays = {f"{part}_index": chosen[split][rows] for part, (split, rows) in parts.items()}
            arrays |= {f"{part}_labels": labels[split][rows] for part, (split, rows) in parts.items()}
            files.write_arrays(paths.subset(seed), **arrays)
            self.subsets[seed] = arrays
        files.write_json(paths.CLASSES, CLASSES)
        files.write_json(paths.WEIGHT_INPUTS, {"resnet": None, "convnext": None})

    def finetuned(self) -> None:
        for seed in SEEDS:
            model = models.build("resnet18", 3, seed)
            about = {"arch": "resnet18", "weights": "random", "image_size": SIZE, "normalisation": "weights"}
            about |= {"classes": CLASSES, "seed": seed, "method": "full", "epoch": 2, "history": []}
            about["recipe"] = {"epochs": 2, "lr": 0.001, "augment": True, "patience": None}
            path = paths.of_seed(paths.checkpoints("resnet"), seed) / "full.safetensors"
            files.write_tensors(path, model.state_dict(), about)
            subset = self.subsets[seed]
            logits = [
                features(model, "resnet18", self.raw[split][subset[f"{part}_index"]])
                for part, split in (("test", "test"), ("val", "train"))
            ]
            test = logits[0], subset["test_labels"], subset["test_index"]
            predicted = arms.Predictions(*test, logits[1], subset["val_labels"])
            files.write_arrays(
                paths.of_seed(paths.predictions("resnet.finetuned"), seed) / "full.npz", **asdict(predicted)
            )
            self.predictions.setdefault("resnet.full", {})[seed] = predicted

    def frozen(self) -> None:
        about = {"arch": "efficientnet_lite0", "weights": "imagenet"}  # features of random weights hardly differ
        state = load_weights("convnext.weights", *about.values(), sha256=None, seed=0)
        files.write_tensors(paths.weights("convnext"), state, about)
        model = models.restore("efficientnet_lite0", state)
        backbone, folder = models.without_head(model), paths.features("convnext")
        rows = {}
        for split, pixels in self.raw.items():
            positions = [subset[f"{part}_index"] for subset in self.subsets.values() for part in _parts(split)]
            index = np.unique(np.concatenate(positions))
            rows[split] = features_of.ImageRows(index, features(backbone, "efficientnet_lite0", pixels[index]))
            of_index, of_rows = features_of.place(folder, split)
            files.write_array(of_index, [index], index.shape, "int64")
            files.write_array(of_rows, [rows[split].rows], rows[split].rows.shape, "float32")
        files.write_arrays(folder / "head.npz")
        files.write_sums(folder)
        for seed, subset in self.subsets.items():
            parts = Features.of(rows["train"], subset)
            for name in ("linear", "knn"):
                fitted = fit.fit(name, parts, rng=seeds.generator(seed, name), configurations=1)
                logits = fitted.logits(rows["test"][subset["test_index"]])
                test = logits, subset["test_labels"], subset["test_index"]
                predicted = arms.Predictions(*test, fitted.logits(parts.val), parts.val_labels)
                frozen.write(paths.of_seed(paths.predictions("convnext.frozen"), seed), name, fitted, predicted)
                self.predictions.setdefault(f"convnext.{name}", {})[seed] = predicted

    def records(self) -> None:
        compared = {}
        cells = {cell: Evaluations(seeds={str(seed): {} for seed in SEEDS}) for cell in design.QUESTION}
        for name, by_seed in self.predictions.items():
            found = {}
            for seed, predicted in by_seed.items():
                scores = arms.score(predicted, CLASSES)
                cost = COST | {"seconds": 1.0, "environment": {"device": "cpu", "commit": "abc"}}
                found[seed] = Evaluation(**dict(scores), **cost)
                cells[design.cell(name)].seeds[str(seed)][design.split(name)[1]] = found[seed]
            self.evaluations[name] = found
            logits = np.stack([predicted.logits for predicted in by_seed.values()])
            title = design.title(name, ARCHS[design.split(name)[0]])
            first = by_seed[0]
            compared[name] = results.Arm(title, logits, first.labels, first.index, list(found.values()))
        for cell in design.CELLS:
            path = paths.record(paths.cell_name(cell))
            if cell in cells:
                files.write_record(path, cells[cell])
            else:
                files.write_json(path, {})
        files.write_json(paths.record(paths.FURTHER), {})
        why = {"convnext.zero_shot": "no category of digits"}
        comparison = results.report(compared, SEEDS, CLASSES, why, Compare(), validated=True, repeated=[])
        files.write_record(paths.record("compare"), comparison)


def _parts(split: str) -> tuple[str, ...]:
    return ("test",) if split == "test" else ("train", "val")
