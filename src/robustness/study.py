"""All of what the stage `robustness` measures, from the arms to metrics, tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from src.core import design, seeds
from src.core.errors import UserError
from src.device import runtime
from src.robustness import corruptions, figures, results
from src.robustness import measure as robustness_measure
from src.robustness import networks as robustness_networks
from src.robustness.attacks import Budget, available
from src.robustness.networks import Network
from src.storage import files, paths
from src.storage.resume import StateFile


@dataclass(frozen=True)
class Study:
    """The arms, and what they are measured on.

    Args:
        archs: the architecture of each role.
        raw, raw_labels: all images (N, H, W, 3) uint8 by split, and the dataset's labels of the test images (N,).
        classes: K.
        plan: the section `robustness` of the settings.
    """

    networks: Sequence[Network]
    archs: Mapping[str, str]
    raw: Mapping[str, np.ndarray]
    raw_labels: np.ndarray
    subset: Mapping[str, np.ndarray]
    classes: int
    dataset: str
    plan: Mapping[str, Any]
    seed: int
    accelerator: Accelerator

    @property
    def titles(self) -> dict[str, str]:
        """Of the arms, by name."""
        called = design.display_names(self.archs)
        return {
            name: design.title(name, called[design.split(name)[0]]) for part in self.networks for name in part.heads
        }


def run_study(drawings: Path, study: Study, *, confidence: float, resamples: int, place: StateFile) -> dict[str, Any]:
    """Measure every arm, draw and tabulate it, and say what metrics/robustness.json holds.

    Args:
        drawings: the folder that gets tables and pictures.
        place: where to save what is measured, and to go on from.

    Raises:
        UserError: several processes, an attack without its package, or official files that are not.
    """
    if study.accelerator.num_processes > 1:
        raise UserError("robustness is measured in one process; run python -m stages.robustness without torchrun")
    plan, seed = study.plan, study.seed
    wanted, why = available(plan["attacks"], study.classes)
    images, index = robustness_measure.choose(study.raw, study.subset, study.dataset, count=plan["images"], seed=seed)
    names, corrupt = source(plan["corrupted"], images.test, index, study.raw_labels, seed)
    found = measure(study, images, names, corrupt, wanted, robustness_measure.Memo(place))
    result = results.report(
        found,
        left_out(study.networks if wanted else [], images, names, why),
        far_name=images.far_name,
        confidence=confidence,
        resamples=resamples,
        seed=seeds.derive(seed, "robustness", "bootstrap"),
    )
    write(drawings, found, result, corrupt, confidence)
    print(results.render(result))
    return {**result, "environment": runtime.environment(study.accelerator)}


def measure(
    study: Study,
    images: robustness_measure.Images,
    names: Sequence[str],
    corrupt: robustness_measure.Corrupt,
    attacks: Sequence[str],
    memo: robustness_measure.Memo,
) -> results.Measured:
    """Every arm on corrupted, attacked and unknown images.

    Args:
        names, corrupt: what `source` gives.
        attacks: those that exist for these classes.
    """
    networks, plan, accelerator = study.networks, study.plan, study.accelerator
    clean, corrupted = robustness_measure.corrupted(
        networks, images, names, plan["severities"], corrupt=corrupt, memo=memo, accelerator=accelerator
    )
    attacked = robustness_measure.attacked(
        networks,
        images,
        attacks,
        plan["epsilons"],
        budget=Budget.of(plan["steps"]),
        seed=study.seed,
        memo=memo,
        device=accelerator.device,
    )
    strange = robustness_measure.ood_scores(networks, images, memo=memo, accelerator=accelerator)
    return results.Measured(study.titles, names, plan["severities"], clean, corrupted, attacked, strange)


def source(
    folder: str | None, images: np.ndarray, index: np.ndarray, raw_labels: np.ndarray, seed: int
) -> tuple[list[str], robustness_measure.Corrupt]:
    """The corruptions by name, and what gives the test images with one of them.

    Args:
        folder: of the official files; None to corrupt `images` (n, H, W, 3) here, all but with frost.
        index: (n,) the positions of these among all test images, whose labels are `raw_labels`.
    """
    if folder is not None:
        path = paths.from_root(folder)
        corruptions.require_same_order(path, raw_labels)
        return list(corruptions.NAMES), partial(_official, path, index, len(raw_labels))

    def corrupt(name: str, severity: int) -> np.ndarray:
        return corruptions.corrupt(images, name, severity, seeds.generator(seed, "corruption", name, severity))

    return list(corruptions.FUNCTIONS), corrupt


def _official(path: Path, index: np.ndarray, total: int, name: str, severity: int) -> np.ndarray:
    return corruptions.read(path, name, severity, index, total)


def left_out(
    networks: Sequence[Network], images: robustness_measure.Images, names: Sequence[str], why: Mapping[str, str]
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
    return found + [
        {"what": arm, "why": robustness_networks.WHY_NOT} for arm, head in heads.items() if head.layer is None
    ]


def write(
    drawings: Path,
    found: results.Measured,
    result: Mapping[str, Any],
    corrupt: robustness_measure.Corrupt,
    confidence: float,
) -> None:
    """Tables and pictures; none of an earlier setting stays."""
    files.empty_folder(drawings)
    for name, (columns, rows) in results.tables(found, result, confidence).items():
        files.write_table(drawings / f"{name}.csv", columns, rows)
    examples = np.stack(
        [np.stack([corrupt(name, severity)[0] for severity in found.severities]) for name in found.names]
    )
    for name, figure in figures.all_figures(result, examples, found.names).items():
        files.write_figure(drawings / f"{name}.png", figure)
