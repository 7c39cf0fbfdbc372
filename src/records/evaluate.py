"""What the evaluation of one cell of the 2 x 2 table leaves in `data/results/<cell>.json`."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from src.core.records import Environment, Record, mean


def _sparse(counts: Sequence[Sequence[int]]) -> list[str]:
    """A row of counts as text, `2:9 7:1`: the counts that are not 0, after their column."""
    return [" ".join(f"{column}:{count}" for column, count in enumerate(row) if count) for row in counts]


def _dense(rows: Any) -> Any:
    """The counts (K, K) of K such texts; other values as they are."""
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        return rows
    counts = [[0] * len(rows) for _ in rows]
    for row, text in zip(counts, rows, strict=True):
        for column, count in (map(int, pair.split(":")) for pair in text.split()):
            row[column] = count
    return counts


# In files as text: of a thousand classes nearly all of a million counts are 0, which would take 13 MB.
Counts = Annotated[list[list[int]], BeforeValidator(_dense), PlainSerializer(_sparse, when_used="json")]


class ClassScores(Record):
    """The scores of one class, which has `n` test images."""

    name: str
    precision: float
    recall: float
    f1: float
    n: int


class MappedScores(Record):
    """The accuracy on the `n` test images of classes that the arm can predict."""

    accuracy: float
    n: int


class CalibratedScores(Record):
    """The scores after logits were divided by a temperature, see `calibration.temperature`; 1 if none was fitted."""

    temperature: float
    nll: float
    brier: float
    ece: float


class Scores(Record):
    """One arm's scores on `n` test images.

    `val_accuracy` is that on the watched images, where there are any; `nll` is in nats; `ece` is debiased, see
    `calibration.Reliability`; `confusion` counts images, (K, K), actual class by row; classes that the arm can never
    predict are `unmapped`.
    """

    accuracy: float
    n: int
    top2_accuracy: float | None = None
    top5_accuracy: float | None = None
    macro_f1: float
    val_accuracy: float | None = None
    nll: float
    brier: float
    ece: float
    calibrated: CalibratedScores
    mapped: MappedScores | None = None
    unmapped: list[str] = Field([])
    per_class: list[ClassScores]
    confusion: Counts


class Evaluation(Scores):
    """One arm: its scores, what was chosen on validation images, and its cost.

    Fine-tuned arms have `convergence`, see `Training`. An arm may have been chosen among `configurations`: learning
    rates, the linear probe's strength `c`, the number `k` of neighbours. Of a read-out, `tried` and `tried_accuracies`
    are their values and validation accuracies; `at_edge`: the best strength is the smallest or the largest of them, so
    that a better one may lie beyond. `train_macs` and `train_seconds` are those of all configurations. `seconds` are
    those of all test images, `peak_memory` is in bytes.

    `parameters` and `macs` of one image are those of the backbone and the head or read-out together; a k-NN's are its
    training images' features. `macs` count all taps of a kernel, `executed_macs` those that see pixels.
    `images_per_second` is that of the median round of `timing.measure`, beside the slowest and the fastest round.
    """

    convergence: str | None = None
    c: float | None = None
    k: int | None = None
    configurations: int | None = None
    tried: list[float] = Field([])
    tried_accuracies: list[float] = Field([])
    at_edge: bool | None = None
    parameters: int
    trained_parameters: int
    macs: int
    executed_macs: int | None = None
    train_macs: int
    train_seconds: float
    seconds: float
    images_per_second: float
    images_per_second_low: float | None = None
    images_per_second_high: float | None = None
    joules_per_image: float | None = None
    peak_memory: int
    environment: Environment


class Evaluations(Record):
    """Every arm of a cell under every seed, by seed and adaptation; and why each read-out that is missing is."""

    seeds: dict[str, dict[str, Evaluation]] = Field({})
    unavailable: dict[str, str] = Field({})

    @property
    def arms(self) -> dict[str, Evaluation]:
        """The mean over seeds of every arm, by adaptation; what was chosen, `c` and `k`, is that of the first seed."""
        by_seed = list(self.seeds.values())
        means = {name: mean([arms[name] for arms in by_seed]) for name in (by_seed[0] if by_seed else ())}
        chosen = {name: {"c": by_seed[0][name].c, "k": by_seed[0][name].k} for name in means}
        return {name: one.model_copy(update=chosen[name]) for name, one in means.items()}

    def numbers(self) -> dict[str, dict[str, float]]:
        """The accuracies of the first arm, which stands for the cell, by its adaptation; none where there is no arm."""
        arms = list(self.arms.items())[:1]
        return {name: {"accuracy": arm.accuracy} | _validated(arm.val_accuracy) for name, arm in arms}


def _validated(accuracy: float | None) -> dict[str, float]:
    return {} if accuracy is None else {"val_accuracy": accuracy}
