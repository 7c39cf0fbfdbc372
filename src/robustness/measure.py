"""Which corrupted, attacked and unknown images every arm gets right.

Nothing is chosen by these numbers, so that test images may be used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from src.arms import Head, Network
from src.core import seeds
from src.device.prefetch import OnHost
from src.nets import inference
from src.robustness import attacks, ood
from src.robustness.config import Robustness
from src.stats import intervals
from src.storage.resume import StateFile

Corrupt = Callable[[str, int], np.ndarray]
Right = dict[str, np.ndarray]  # by arm


@dataclass(frozen=True)
class Images:
    """Images (n, H, W, 3) uint8.

    Args:
        test: those that every arm is measured on, with `labels` (n,).
        train: training images, among which the nearest neighbours of the score `knn` are found.
        near: test images of the dataset's other classes; None if the K are all there are.
        far: images of another dataset, which is `far_name`.
    """

    test: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    near: np.ndarray | None
    far: np.ndarray
    far_name: str


def choose(
    raw: Mapping[str, OnHost], subset: Mapping[str, np.ndarray], dataset: str, *, count: int | None, seed: int
) -> tuple[Images, np.ndarray]:
    """The images that every arm is measured on, and the positions (n,) of the test images among all of them.

    Args:
        raw: all images (N, H, W, 3) uint8 by split, of which `subset` holds the indices and labels.
        count: at most so many of each kind, drawn at random; None for all.
    """

    def some(index: np.ndarray, most: int | None, name: str) -> np.ndarray:
        """Sorted positions in `index`."""
        return np.sort(seeds.generator(seed, "robustness", name).permutation(len(index))[:most])

    tested = some(subset["test_index"], count, "test")
    index = subset["test_index"][tested]
    others = np.setdiff1d(np.arange(len(raw["test"])), subset["test_index"])
    others = others[some(others, count or len(tested), "near")]
    known = subset["train_index"][some(subset["train_index"], ood.BANK, "train")]
    height, width = raw["test"].shape[1:3]
    name, far = ood.far(dataset, count or len(tested), height, width, seeds.generator(seed, "robustness", "far"))
    images = Images(
        test=raw["test"][index],
        labels=subset["test_labels"][tested],
        train=raw["train"][known],
        near=raw["test"][others] if len(others) else None,
        far=far,
        far_name=name,
    )
    return images, index


class Memo:
    """Measurements by name: saved from time to time, and taken from the saved state when a stage resumes."""

    def __init__(self, state_file: StateFile) -> None:
        self.state_file = state_file.part("measured")
        self.known = {name: tensor.numpy() for name, tensor in self.state_file.load()[0].items()}

    def get(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The measurement of that name, computed if it is not known."""
        if name not in self.known:
            self.known[name] = np.ascontiguousarray(compute())
            if self.state_file.due():
                self.state_file.save({key: torch.from_numpy(value) for key, value in self.known.items()}, {})
                self.state_file.leave_if_asked(f"after {name}")
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
        names: of the C corruptions.
        corrupt: returns the test images with a corruption of that name and severity.
    """

    def right(test: np.ndarray) -> np.ndarray:
        rows = []
        for network in networks:
            features = _features(network, test, accelerator)
            rows += [intervals.correct(head.logits(features), images.labels) for head in network.heads.values()]
        return np.stack(rows)  # (A, n)

    def measure(name: str, severity: int) -> np.ndarray:
        return right(corrupt(name, severity))

    arms = [name for network in networks for name in network.heads]
    clean = memo.get("clean", partial(right, images.test))
    cells = [(name, severity) for name in names for severity in severities]
    rows = [
        memo.get(f"{name}.{severity}", partial(measure, name, severity))
        for name, severity in tqdm(cells, "corruptions", leave=False, disable=None)
    ]
    changed = np.stack(rows, axis=1).reshape(len(arms), len(names), len(severities), -1)
    return dict(zip(arms, clean, strict=True)), dict(zip(arms, changed, strict=True))


def _features(network: Network, images: np.ndarray, accelerator: Accelerator) -> np.ndarray:
    return inference.predict(
        network.backbone, images, np.arange(len(images)), view=network.view, accelerator=accelerator
    )


def attacked(
    networks: Sequence[Network],
    images: Images,
    names: Sequence[str],
    config: Robustness,
    *,
    seed: int,
    memo: Memo,
    device: torch.device,
) -> dict[str, dict[tuple[str, float], np.ndarray]]:
    """Which test images (n,) each arm with a gradient still gets right, by attack and epsilon (in 255ths).

    Besides the named attacks, random noise of the same size and, with PGD, PGD of fewer steps.
    """
    x = torch.from_numpy(images.test).permute(0, 3, 1, 2).to(device).float() / 255
    y = torch.from_numpy(images.labels).to(device)
    every = [attacks.NOISE, *([attacks.SHORT] if "pgd" in names else []), *names]
    arms = [
        (arm, attacks.Attacked(network.backbone, head.layer, network.view).to(device).eval())
        for network in networks
        for arm, head in network.heads.items()
        if head.layer is not None
    ]
    right: dict[str, dict[tuple[str, float], np.ndarray]] = {arm: {} for arm, _ in arms}
    cells = [(arm, model, name, epsilon) for arm, model in arms for name in every for epsilon in config.epsilons]
    budget = attacks.Budget.of(config.steps)
    for arm, model, name, epsilon in tqdm(cells, "attacks", leave=False, disable=None):
        measure = partial(attacks.survivors, name, model, x, y, epsilon / 255, budget=budget, seed=seed)
        right[arm][name, epsilon] = memo.get(f"{arm}.{name}.{epsilon}", measure)
    return right


def ood_scores(
    networks: Sequence[Network], images: Images, *, memo: Memo, accelerator: Accelerator
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """The out-of-distribution scores of the test images, and of those of other classes and of another dataset.

    Returns:
        By arm and score (see `ood.SCORES`), (n,) for `test`, `near` (where there is any) and `far`.
    """
    kinds = {"test": images.test, "near": images.near, "far": images.far}
    by_arm: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for network in networks:
        first = next(iter(network.heads))
        bank = memo.get(f"{first}.train", partial(_features, network, images.train, accelerator))
        for kind, pixels in kinds.items():
            if pixels is None:
                continue
            features = memo.get(f"{first}.{kind}", partial(_features, network, pixels, accelerator))
            distance = ood.knn(features, bank)
            for arm, head in network.heads.items():
                scores = by_arm.setdefault(arm, {name: {} for name in ood.SCORES})
                for name, values in _scores(head, features, distance).items():
                    scores[name][kind] = values
    return by_arm


def _scores(head: Head, features: np.ndarray, distance: np.ndarray) -> dict[str, np.ndarray]:
    logits = head.logits(features)
    return {"msp": ood.msp(logits), "energy": ood.energy(logits), "knn": distance}
