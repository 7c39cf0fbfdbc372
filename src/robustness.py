"""All of what the stage `robustness` measures, from the arms to metrics, tables and pictures. For that stage."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from src import (
    arms,
    cifar_c,
    corruptions,
    files,
    robust_arms,
    robustness_measures,
    robustness_plots,
    robustness_results,
    runtime,
    seeds,
)
from src.attacks import Budget, available
from src.errors import UserError
from src.resuming import Place
from src.robust_arms import Network


def write_robustness(
    drawings: Path,
    *,
    networks: Sequence[Network],
    archs: Mapping[str, str],
    raw: Mapping[str, np.ndarray],
    raw_labels: np.ndarray,
    subset: Mapping[str, np.ndarray],
    classes: int,
    dataset: str,
    plan: Mapping[str, Any],
    confidence: float,
    resamples: int,
    seed: int,
    accelerator: Accelerator,
    place: Place,
) -> dict[str, Any]:
    """Measure every arm, draw and tabulate it, and say what metrics/robustness.json holds.

    Args:
        drawings: the folder that gets tables and pictures.
        archs: the architecture of each role.
        raw, raw_labels: all images (N, H, W, 3) uint8 by split, and the dataset's labels of the test images (N,).
        classes: K.
        plan: the section `robustness` of the settings.
        place: where to save what is measured, and to go on from.

    Raises:
        UserError: several processes, an attack without its package, or official files that are not.
    """
    if accelerator.num_processes > 1:
        raise UserError("robustness is measured in one process; run python -m stages.robustness without torchrun")
    wanted, why = available(plan["attacks"], classes)
    images, index = robustness_measures.choose(raw, subset, dataset, count=plan["images"], seed=seed)
    names, corrupt = source(plan["corrupted"], images.test, index, raw_labels, seed)
    called = arms.called(archs)
    titles = {name: arms.title(name, called[arms.split(name)[0]]) for part in networks for name in part.heads}
    found = measure(
        networks,
        titles,
        images,
        names,
        corrupt,
        plan={**plan, "attacks": wanted},
        seed=seed,
        accelerator=accelerator,
        memo=robustness_measures.Memo(place),
    )
    result = robustness_results.report(
        found,
        left_out(networks if wanted else [], images, names, why),
        far_name=images.far_name,
        confidence=confidence,
        resamples=resamples,
        seed=seeds.derive(seed, "robustness", "bootstrap"),
    )
    write(drawings, found, result, corrupt, confidence)
    print(robustness_results.render(result))
    return {**result, "environment": runtime.environment(accelerator)}


def measure(
    networks: Sequence[Network],
    titles: Mapping[str, str],
    images: robustness_measures.Images,
    names: Sequence[str],
    corrupt: robustness_measures.Corrupt,
    *,
    plan: Mapping[str, Any],
    seed: int,
    accelerator: Accelerator,
    memo: robustness_measures.Memo,
) -> robustness_results.Measured:
    """Every arm on corrupted, attacked and unknown images.

    Args:
        titles: of the arms, by name.
        names, corrupt: what `source` gives.
    """
    clean, corrupted = robustness_measures.corrupted(
        networks, images, names, plan["severities"], corrupt=corrupt, memo=memo, accelerator=accelerator
    )
    attacked = robustness_measures.attacked(
        networks,
        images,
        plan["attacks"],
        plan["epsilons"],
        budget=Budget.of(plan["steps"]),
        seed=seed,
        memo=memo,
        device=accelerator.device,
    )
    strange = robustness_measures.strangeness(networks, images, memo=memo, accelerator=accelerator)
    return robustness_results.Measured(titles, names, plan["severities"], clean, corrupted, attacked, strange)


def source(
    folder: str | None, images: np.ndarray, index: np.ndarray, raw_labels: np.ndarray, seed: int
) -> tuple[list[str], robustness_measures.Corrupt]:
    """The corruptions by name, and what gives the test images with one of them.

    Args:
        folder: of the official files; None to corrupt `images` (n, H, W, 3) here, all but with frost.
        index: (n,) the positions of these among all test images, whose labels are `raw_labels`.
    """
    if folder is not None:
        path = files.from_root(folder)
        cifar_c.require_same_order(path, raw_labels)
        return list(corruptions.NAMES), partial(_official, path, index, len(raw_labels))

    def corrupt(name: str, severity: int) -> np.ndarray:
        return corruptions.corrupt(images, name, severity, seeds.generator(seed, "corruption", name, severity))

    return list(corruptions.FUNCTIONS), corrupt


def _official(path: Path, index: np.ndarray, total: int, name: str, severity: int) -> np.ndarray:
    return cifar_c.read(path, name, severity, index, total)


def left_out(
    networks: Sequence[Network], images: robustness_measures.Images, names: Sequence[str], why: Mapping[str, str]
) -> list[dict[str, str]]:
    """What could not be measured, and why.

    Args:
        networks: those that are attacked.
        why: of the attacks that do not exist for these classes, by name.
    """
    found = [{"what": name, "why": reason} for name, reason in why.items()]
    if "frost" not in names:
        reason = "it pastes photographs that are in the official files only; set robustness.corrupted to their folder"
        found.append({"what": "frost", "why": reason})
    if images.near is None:
        found.append({"what": "near", "why": "no class of the dataset is left out, so none is unknown; choose fewer"})
    heads = {arm: head for network in networks for arm, head in network.heads.items()}
    return found + [{"what": arm, "why": robust_arms.WHY_NOT} for arm, head in heads.items() if head.layer is None]


def write(
    drawings: Path,
    found: robustness_results.Measured,
    result: Mapping[str, Any],
    corrupt: robustness_measures.Corrupt,
    confidence: float,
) -> None:
    """Tables and pictures; none of an earlier setting stays."""
    files.write_folder(drawings)
    for name, (columns, rows) in robustness_results.tables(found, result, confidence).items():
        files.write_table(drawings / f"{name}.csv", columns, rows)
    examples = np.stack(
        [np.stack([corrupt(name, severity)[0] for severity in found.severities]) for name in found.names]
    )
    for name, figure in robustness_plots.pictures(result, examples, found.names).items():
        files.write_figure(drawings / f"{name}.png", figure)
