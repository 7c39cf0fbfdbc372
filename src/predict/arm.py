"""An arm of the finished experiment: what its records say of it, and its networks under some seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax

from src.core import design
from src.core.errors import UserError, did_you_mean
from src.core.records import Interval
from src.records.backbones import FurtherBackbones
from src.records.compare import Comparison
from src.records.evaluate import Evaluation, Evaluations
from src.stats import calibration, intervals
from src.storage import files, paths, raw

NOTHING_YET = (
    "there is no finished experiment here ({missing} is missing); `dvc pull` brings one from a remote, `make repro` "
    "makes one, and `make demo` a small one in .demo, where this command works too"
)
CHECKED = 16  # test images that the networks answer again before they answer others
TOLERANCE = 0.05  # of the range of an arm's logits: another device rounds otherwise, other settings change far more


@dataclass(frozen=True)
class Quality:
    """How far answers can be trusted, on `n` test images: the accuracy, and the ECE of the confidences."""

    n: int
    accuracy: Interval
    ece: float


@dataclass(frozen=True)
class Arm:
    """One arm under the `seeds` that answer together.

    Args:
        name: `resnet.full`.
        title: for people.
        classes: the names of the K classes.
        evaluations: by seed.
        saved: by seed what it predicted: `logits` (N, K), `labels` (N,) and `index` (N,) of the test images.
        comparison: of all arms.
    """

    name: str
    title: str
    classes: list[str]
    evaluations: Mapping[int, Evaluation]
    saved: Mapping[int, Mapping[str, np.ndarray]]
    comparison: Comparison

    @property
    def seeds(self) -> list[int]:
        return list(self.evaluations)

    def of(self, seed: int) -> "Arm":
        """The arm under one of its seeds alone."""
        return replace(self, evaluations={seed: self.evaluations[seed]}, saved={seed: self.saved[seed]})

    @property
    def temperatures(self) -> list[float]:
        """By which the logits of each seed's network are divided, see `calibration.temperature`."""
        return [evaluation.calibrated.temperature for evaluation in self.evaluations.values()]

    def probabilities(self, logits: Mapping[int, np.ndarray]) -> np.ndarray:
        """The softmax (n, K) of the mean over seeds of calibrated logits, from each seed's logits (n, K).

        The mean of the probabilities is as accurate and too unsure: of fine-tuned EfficientNet-Lite0 on digits the
        accuracy is 0.887 of one seed, 0.953 by the mean of three probabilities and 0.961 so, and the ECE 0.049, 0.083
        and 0.032.
        """
        scaled = [logits[seed].astype(np.float64) / t for seed, t in zip(self.seeds, self.temperatures, strict=True)]
        return softmax(np.mean(scaled, axis=0), axis=1)

    def quality(self) -> Quality:
        """That of these probabilities on the test images."""
        labels = self.saved[self.seeds[0]]["labels"]
        with np.errstate(divide="ignore"):  # a class that the arm never answers has the probability 0
            logs = np.log(self.probabilities({seed: part["logits"] for seed, part in self.saved.items()}))
        accuracy = intervals.share(intervals.correct(logs, labels), self.comparison.confidence)
        return Quality(len(labels), accuracy, calibration.ece(logs, labels))

    def require_same(self, logits: Mapping[int, np.ndarray]) -> None:
        """Require that networks answer as the experiment's did.

        Args:
            logits: by seed of the first `CHECKED` test images.

        Raises:
            UserError: they do not.
        """
        for seed, rows in logits.items():
            expected = self.saved[seed]["logits"][: len(rows)]
            known = np.isfinite(expected)
            if not np.allclose(rows[known], expected[known], rtol=0, atol=TOLERANCE * np.ptp(expected[known])):
                raise UserError(
                    f"{self.name}, seed {seed}: its network answers test images otherwise than the experiment did, so "
                    "settings or files have changed since; `dvc repro` makes them agree"
                )


def find(name: str | None, seeds: Sequence[int] = ()) -> Arm:
    """An arm by its name, or that of its cell; by default the first of the question's two.

    Args:
        seeds: all of the experiment if there are none.

    Raises:
        UserError: there is no experiment, or no such arm or seed in it.
    """
    if not paths.record("compare").exists():
        raise UserError(NOTHING_YET.format(missing=paths.record("compare")))
    comparison = files.read_record(paths.record("compare"), Comparison)
    name = comparison.cells.get(name or "", name) or next(iter(comparison.primary.weights))
    known, titles = evaluated(comparison)
    if name not in known:
        if why := comparison.unavailable.get(name):
            raise UserError(f"{name}: this experiment has no such arm ({why})")
        raise UserError(f"{name}: no such arm; {did_you_mean(name, known)}this experiment has {', '.join(known)}")
    for seed in seeds:
        if seed not in known[name]:
            raise UserError(f"seed {seed}: this experiment has {', '.join(map(str, known[name]))}")
    chosen = {seed: known[name][seed] for seed in seeds or known[name]}
    adaptation, folder = design.split(name)[1], paths.predictions(design.cell(name))
    saved = {seed: files.read_arrays(paths.of_seed(folder, seed) / f"{adaptation}.npz") for seed in chosen}
    return Arm(name, titles[name], files.read_json(paths.CLASSES), chosen, saved, comparison)


def evaluated(comparison: Comparison) -> tuple[dict[str, dict[int, Evaluation]], dict[str, str]]:
    """Every arm that was evaluated: by its name its evaluation by seed, and its title."""
    titles = {arm.arm: arm.title for arm in comparison.arms}
    arms: dict[str, dict[int, Evaluation]] = {}
    for cell in design.CELLS:
        if record := files.read_optional_record(paths.record(paths.cell_name(cell)), Evaluations):
            arms |= _by_arm(cell.split(".")[0], record)
    further = files.read_optional_record(paths.record(paths.FURTHER), FurtherBackbones) or FurtherBackbones()
    for backbone, each in further.backbones.items():
        found = _by_arm(backbone, each.frozen) | _by_arm(backbone, each.finetuned)
        titles |= {arm: design.title(arm, each.name) for arm in found}
        arms |= found
    return arms, titles


def _by_arm(backbone: str, evaluations: Evaluations) -> dict[str, dict[int, Evaluation]]:
    arms: dict[str, dict[int, Evaluation]] = {}
    for seed, by_adaptation in evaluations.seeds.items():
        for adaptation, evaluation in by_adaptation.items():
            arms.setdefault(f"{backbone}.{adaptation}", {})[int(seed)] = evaluation
    return arms


def side() -> int:
    """The side in pixels of the experiment's images, to which others are cut."""
    return raw.images("test").shape[1]
