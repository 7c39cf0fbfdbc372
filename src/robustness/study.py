"""Everything that the stage `robustness` measures, from the arms to the record, the tables and the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from src.arms import Network
from src.core import design, seeds
from src.core.errors import UserError
from src.device import runtime
from src.device.prefetch import OnHost
from src.records.robustness import RobustnessResults
from src.robustness import corruptions, figures, measure, results
from src.robustness.attacks import available
from src.robustness.config import Robustness
from src.robustness.measure import Corrupt, Images, Memo
from src.robustness.results import Measured
from src.storage import files, paths
from src.storage.resume import StateFile

WHY_NOT = "not attacked: it is no linear layer to follow gradients through, as linear and random_head are"


@dataclass(frozen=True)
class Study:
    """The arms, and what they are measured on.

    Args:
        archs: the architecture of each role.
        raw: all images by split, (N, H, W, 3) uint8.
        raw_labels: the dataset's labels of all test images (N,).
        subset: indices and labels of the images of the K classes.
        classes: K.
        question: the two cells or arms that are compared first.
        seed: of the choice of images, the corruptions and the attacks.
    """

    networks: Sequence[Network]
    archs: Mapping[str, str]
    raw: Mapping[str, OnHost]
    raw_labels: np.ndarray
    subset: Mapping[str, np.ndarray]
    classes: int
    dataset: str
    config: Robustness
    question: Sequence[str]
    seed: int
    accelerator: Accelerator

    @property
    def titles(self) -> dict[str, str]:
        """The title of each arm by its name."""
        backbones = design.display_names(self.archs)
        names = [name for network in self.networks for name in network.heads]
        return {name: design.title(name, backbones[design.split(name)[0]]) for name in names}


def run_study(folder: Path, study: Study, confidence: float, state_file: StateFile) -> RobustnessResults:
    """Measure every arm, and write tables and figures.

    Args:
        folder: gets the tables; figures stand beside it, see `paths.pictures`.
        state_file: where measurements are saved from time to time, and resumed from.

    Raises:
        UserError: there are several processes, a package is missing, or `robustness.corrupted` is not a folder of the
            official files.
    """
    if study.accelerator.num_processes > 1:
        raise UserError("robustness is measured in one process; run python -m stages.robustness without torchrun")
    config, seed = study.config, study.seed
    attacks, why = available(config.attacks, study.classes)
    images, index = measure.choose(study.raw, study.subset, study.dataset, count=config.images, seed=seed)
    names, corrupt = source(config.corrupted, images.test, index, study.raw_labels, seed)
    measured = measure_all(study, images, names, corrupt, attacks, Memo(state_file))
    unavailable = why | left_out(study.networks if attacks else [], images, names)
    report = results.report(measured, unavailable, study.question, confidence, runtime.environment(study.accelerator))
    write(folder, measured, report, corrupt, confidence)
    print(results.render(report))
    return report


def measure_all(
    study: Study, images: Images, names: Sequence[str], corrupt: Corrupt, attacks: Sequence[str], memo: Memo
) -> Measured:
    """Every arm on corrupted, attacked and unknown images.

    Args:
        names, corrupt: what `source` gives.
        attacks: those that exist for these classes.
    """
    arms, config, accelerator = study.networks, study.config, study.accelerator
    clean, corrupted = measure.corrupted(
        arms, images, names, config.severities, corrupt=corrupt, memo=memo, accelerator=accelerator
    )
    device, seed = accelerator.device, seeds.derive(study.seed, "robustness", "attacks")
    return Measured(
        titles=study.titles,
        names=names,
        severities=config.severities,
        clean=clean,
        corrupted=corrupted,
        attacked=measure.attacked(arms, images, attacks, config, seed=seed, memo=memo, device=device),
        ood_scores=measure.ood_scores(arms, images, memo=memo, accelerator=accelerator),
        far=images.far_name,
    )


def source(
    folder: str | None, images: np.ndarray, index: np.ndarray, raw_labels: np.ndarray, seed: int
) -> tuple[list[str], Corrupt]:
    """The names of the corruptions, and the function that returns the test images with one of them.

    Args:
        folder: of the official files; None to corrupt `images` (n, H, W, 3) here, by all corruptions but frost.
        index: (n,) the positions of these among all test images, whose labels are `raw_labels`.

    Raises:
        UserError: the files are not official ones, or a package is missing.
    """
    if folder is not None:
        path = paths.from_root(folder)
        corruptions.require_same_order(path, raw_labels)
        return list(corruptions.NAMES), partial(_official, path, index, len(raw_labels))

    corruptions.require_packages()

    def corrupt(name: str, severity: int) -> np.ndarray:
        return corruptions.corrupt(images, name, severity, seeds.generator(seed, "corruption", name, severity))

    return list(corruptions.FUNCTIONS), corrupt


def _official(path: Path, index: np.ndarray, total: int, name: str, severity: int) -> np.ndarray:
    return corruptions.read(path, name, severity, index, total)


def left_out(attacked: Sequence[Network], images: Images, names: Sequence[str]) -> dict[str, str]:
    """Why something cannot be measured, by its name: a corruption, `near` images, or an arm that is not attacked."""
    why = {}
    if "frost" not in names:
        why["frost"] = (
            "it pastes photographs that are in the official files only; set robustness.corrupted to their folder"
        )
    if images.near is None:
        why["near"] = "no class of the dataset is left out, so none is unknown; choose fewer"
    heads = {arm: head for network in attacked for arm, head in network.heads.items()}
    return why | {arm: WHY_NOT for arm, head in heads.items() if head.layer is None}


def write(folder: Path, measured: Measured, report: RobustnessResults, corrupt: Corrupt, confidence: float) -> None:
    """Write tables into an emptied folder, and figures into that of its pictures."""
    pictures = paths.pictures(folder)
    files.empty_folder(folder)
    for name, (columns, rows) in results.tables(measured, report, confidence).items():
        files.write_table(folder / f"{name}.csv", columns, rows)
    files.empty_folder(pictures)
    examples = np.stack(
        [np.stack([corrupt(name, severity)[0] for severity in measured.severities]) for name in measured.names]
    )
    for name, figure in figures.all_figures(report, examples, measured.names).items():
        files.write_figure(pictures / f"{name}.png", figure)
