"""Every arm on corrupted, attacked and unknown images: which it gets right.

Nothing is chosen here: test images are looked at, and the numbers reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from src.core import seeds
from src.nets import inference
from src.robustness import attacks, ood
from src.robustness.networks import Head, Network
from src.stats import intervals
from src.storage.resume import StateFile

Corrupt = Callable[[str, int], np.ndarray]
Right = dict[str, np.ndarray]  # by arm


@dataclass(frozen=True)
class Images:
    """Test images (n, H, W, 3) uint8 with labels (n,), and images of other classes and of another dataset.

    `train` are those among which the training images' neighbours are looked for; `near` are None where every class of
    the dataset is among the K.
    """

    test: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    near: np.ndarray | None
    far: np.ndarray
    far_name: str


def choose(
    raw: Mapping[str, np.ndarray], subset: Mapping[str, np.ndarray], dataset: str, *, count: int | None, seed: int
) -> tuple[Images, np.ndarray]:
    """The images that every arm is measured on, and the positions (n,) of the test images among all of them.

    Args:
        raw: all images (N, H, W, 3) uint8 by split, of which `subset` holds the indices and labels.
        count: at most so many of each kind, drawn at random; None for all.
    """

    def some(index: np.ndarray, most: int | None, name: str) -> np.ndarray:
        return np.sort(seeds.generator(seed, "robustness", name).permutation(len(index))[:most])

    tested = some(subset["test_index"], count, "test")
    index = subset["test_index"][tested]
    others = np.setdiff1d(np.arange(len(raw["test"])), subset["test_index"])
    others = others[some(others, count or len(tested), "near")]
    known = subset["train_index"][some(subset["train_index"], ood.BANK, "train")]
    height, width = raw["test"].shape[1:3]
    name, far = ood.far(dataset, count or len(tested), height, width, seeds.generator(seed, "robustness", "far"))
    chosen = Images(
        raw["test"][index],
        subset["test_labels"][tested],
        raw["train"][known],
        raw["test"][others] if len(others) else None,
        far,
        name,
    )
    return chosen, index


class Memo:
    """What is measured already, by name: saved from time to time, and taken up by a stage that goes on."""

    def __init__(self, place: StateFile) -> None:
        self.place = place.part("measured")
        self.known = {name: tensor.numpy() for name, tensor in self.place.load()[0].items()}

    def get(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self.known:
            self.known[name] = np.ascontiguousarray(compute())
            if self.place.due():
                self.place.save({key: torch.from_numpy(value) for key, value in self.known.items()}, {})
                self.place.leave_if_asked(f"after {name}")
        return self.known[name]


def corrupted(
    networks: Sequence[Network],
    images: Images,
    names: Sequence[str],
    severities: Sequence[int],
    *,
    corrupt: Corrupt,
    memo: Memo,
    accelerator: Accelerator,
) -> tuple[Right, Right]:
    """Which test images each arm gets right: as they are, (n,), and corrupted, (C, S, n).

    Args:
        corrupt: gives the test images with a corruption of that name and severity.
    """

    def ask(found: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                intervals.correct(head.logits(features), images.labels)
                for network in networks
                for features in [_features(network, found, accelerator)]
                for head in network.heads.values()
            ]
        )

    def measure(name: str, severity: int) -> np.ndarray:
        return ask(corrupt(name, severity))

    names_of = [name for network in networks for name in network.heads]
    clean = memo.get("clean", partial(ask, images.test))  # (A, n)
    cells = [(name, severity) for name in names for severity in severities]
    rows = [
        memo.get(f"{name}.{severity}", partial(measure, name, severity))
        for name, severity in tqdm(cells, "corruptions", leave=False, disable=None)
    ]
    found = np.stack(rows, axis=1).reshape(len(names_of), len(names), len(severities), -1)
    return dict(zip(names_of, clean, strict=True)), dict(zip(names_of, found, strict=True))


def _features(network: Network, images: np.ndarray, accelerator: Accelerator) -> np.ndarray:
    return inference.predict(
        network.backbone, images, np.arange(len(images)), view=network.view, accelerator=accelerator
    )


def attacked(
    networks: Sequence[Network],
    images: Images,
    names: Sequence[str],
    epsilons: Sequence[float],
    *,
    budget: attacks.Budget,
    seed: int,
    memo: Memo,
    device: torch.device,
) -> dict[str, dict[tuple[str, float], np.ndarray]]:
    """Which test images (n,) each arm with a gradient still gets right, by attack and epsilon (in 255ths).

    Besides the attacks asked for, random noise of the same size and, with PGD, PGD of fewer steps.
    """
    x = torch.from_numpy(images.test).permute(0, 3, 1, 2).to(device).float() / 255
    y = torch.from_numpy(images.labels).to(device)
    wanted = [attacks.NOISE, *([attacks.SHORT] if "pgd" in names else []), *names]
    arms = [
        (arm, attacks.Attacked(network.backbone, head.layer, network.view).to(device).eval())
        for network in networks
        for arm, head in network.heads.items()
        if head.layer is not None
    ]
    found: dict[str, dict[tuple[str, float], np.ndarray]] = {arm: {} for arm, _ in arms}
    cells = [(arm, model, name, epsilon) for arm, model in arms for name in wanted for epsilon in epsilons]
    how: dict[str, Any] = {"budget": budget, "seed": seeds.derive(seed, "robustness", "attacks")}
    for arm, model, name, epsilon in tqdm(cells, "attacks", leave=False, disable=None):
        measure = partial(attacks.survivors, name, model, x, y, epsilon / 255, **how)
        found[arm][name, epsilon] = memo.get(f"{arm}.{name}.{epsilon}", measure)
    return found


def ood_scores(
    networks: Sequence[Network], images: Images, *, memo: Memo, accelerator: Accelerator
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """How strange each arm finds the test images, and those of other classes and of another dataset.

    Returns:
        By arm and score (see `ood.SCORES`), (n,) for `test`, `near` (where there is any) and `far`.
    """
    kinds = {"test": images.test, "near": images.near, "far": images.far}
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for network in networks:
        first = next(iter(network.heads))
        bank = memo.get(f"{first}.train", partial(_features, network, images.train, accelerator))
        for kind, shown in kinds.items():
            if shown is None:
                continue
            features = memo.get(f"{first}.{kind}", partial(_features, network, shown, accelerator))
            distance = ood.knn(features, bank)
            for arm, head in network.heads.items():
                scores = found.setdefault(arm, {name: {} for name in ood.SCORES})
                for name, values in _scores(head, features, distance).items():
                    scores[name][kind] = values
    return found


def _scores(head: Head, features: np.ndarray, distance: np.ndarray) -> dict[str, np.ndarray]:
    logits = head.logits(features)
    return {"msp": ood.msp(logits), "energy": ood.energy(logits), "knn": distance}
