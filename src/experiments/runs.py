"""The runs that are compared: what each experiment's arms got right, under every seed, and sums of arms over runs.

A run is under one *condition*: a series, K classes, training images and pixels. A *series* is a way to choose K
classes: `first` takes the first K, so that the subsets are nested; `random` draws them, by `subset_seed`; `named` are
lists of names. Series are never averaged with each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from src.core.errors import UserError
from src.records.compare import Cost
from src.stats.contrasts import Answers, Weights
from src.stats.crossed import Row, require_different

SERIES = ("first", "random", "named")
Part = Literal["test", "validation"]


@dataclass(frozen=True)
class Labelled(Answers):
    """What arms got right under one seed, with the `labels` (n,) of the images."""

    labels: np.ndarray

    def of_classes(self, labels: Sequence[int]) -> "Labelled":
        """The same on the images of some classes alone."""
        kept = np.isin(self.labels, labels)
        right = {arm: part[kept] for arm, part in self.right.items()}
        return replace(self, index=self.index[kept], right=right, labels=self.labels[kept])


class Condition(NamedTuple):
    """What a sweep varies. `shots` are the training images of each class; None for all."""

    series: str
    classes: int
    shots: int | None
    pixels: int


@dataclass(frozen=True)
class Run:
    """One experiment: its condition, and by seed the answers of its arms on the test and on the validation images.

    The test images are the same under every seed; the validation images differ. `images` are the training images of
    each class, after the split. `cells` names the arm in each cell of the 2 x 2 table; `question` has the weights of
    the arms that the question compares. `val_accuracy` is None for an arm that has none.
    """

    name: str
    condition: Condition
    subset: str
    images: float
    base_classes: int
    test: Mapping[int, Labelled]
    validation: Mapping[int, Labelled]
    titles: Mapping[str, str]
    costs: Mapping[str, Cost]
    val_accuracy: Mapping[str, float | None]
    cells: Mapping[str, str]
    question: Weights

    def answers(self, on: Part) -> Mapping[int, Labelled]:
        """The answers on the test or on the validation images."""
        return self.test if on == "test" else self.validation

    def without(self, seeds: Iterable[int]) -> "Run":
        """The same run without some seeds."""
        left_out = set(seeds)
        test, validation = (
            {seed: part for seed, part in answers.items() if seed not in left_out}
            for answers in (self.test, self.validation)
        )
        return replace(self, test=test, validation=validation)

    def of_classes(self, labels: Sequence[int]) -> "Run":
        """The same run on the images of some classes alone."""
        test, validation = (
            {seed: part.of_classes(labels) for seed, part in answers.items()}
            for answers in (self.test, self.validation)
        )
        return replace(self, test=test, validation=validation)


def by_condition(runs: Iterable[Run]) -> dict[Condition, list[Run]]:
    """Runs by condition, in order: series, K, images, pixels; and those of each by subset."""
    groups: dict[Condition, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (_rank(run.condition), run.subset, min(run.test))):
        groups.setdefault(run.condition, []).append(run)
    return groups


def _rank(condition: Condition) -> tuple[float, ...]:
    shots = np.inf if condition.shots is None else condition.shots
    return SERIES.index(condition.series), condition.classes, shots, condition.pixels


def pooled(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Runs that agree in all but their seeds, each seed once; and a sentence for each run that repeats some.

    The first run that has a seed keeps it. A run without a seed of its own is left out.
    """
    seen: dict[tuple[Condition, str], dict[int, str]] = {}
    kept, said = [], []
    for run in runs:
        names = seen.setdefault((run.condition, run.subset), {})
        repeated = [seed for seed in run.test if seed in names]
        names |= {seed: run.name for seed in run.test if seed not in names}
        if repeated:
            seeds = f"seed{'s'[: len(repeated) > 1]} {', '.join(map(str, repeated))}"
            said.append(f"left out: {seeds} of {run.name}, taken from {names[repeated[0]]}")
        if len(repeated) < len(run.test):
            kept.append(run.without(repeated))
    return kept, said


def agreed(runs: Sequence[Run]) -> Run:
    """The first of some runs, whose question and 2 x 2 table all have.

    Raises:
        UserError: another run has others, as it lacks the read-out that stands in the table.
    """
    first, *others = runs
    for run in others:
        for name, mine, theirs in (
            ("the 2 x 2 table holds", first.cells.values(), run.cells.values()),
            ("compare.question is", first.question, run.question),
        ):
            if list(mine) != list(theirs):
                raise UserError(
                    f"{name} {', '.join(mine)} in {first.name}, but {', '.join(theirs)} in {run.name}; choose runs that"
                    " agree, or put a read-out that all have first in frozen.readouts"
                )
    return first


def clusters(runs: Sequence[Run], arms: Iterable[str], on: Part = "test") -> list[Answers]:
    """What some arms got right in runs under one condition, by cluster.

    The clusters are seeds; of several subsets of classes they are the subsets, each with its mean over seeds. Runs
    without one of the arms are left out.

    Raises:
        UserError: runs of one subset were tested on different images, or all subsets hold the same classes.
    """
    wanted = list(arms)
    subsets: dict[str, list[tuple[Run, Labelled]]] = {}
    for run in runs:
        for part in run.answers(on).values():
            if all(arm in part.right for arm in wanted):
                subsets.setdefault(run.subset, []).append((run, part))
    for members in subsets.values() if on == "test" else ():
        require_same_images([run for run, _ in members])
    if len(subsets) == 1:
        return [part for members in subsets.values() for _, part in members]
    averaged = [
        Answers(
            cluster=subset,
            index=members[0][1].index,
            right={arm: np.mean([part.right[arm] for _, part in members], axis=0) for arm in wanted},
        )
        for subset, members in subsets.items()
    ]
    if averaged:
        require_different([Row(part.cluster, part.index, part.index) for part in averaged])
    return averaged


def require_same_images(runs: Sequence[Run]) -> None:
    """Require that all runs were tested on the same images.

    Raises:
        UserError: naming two that were not.
    """
    every = [(run, part) for run in runs for part in run.test.values()]
    first, reference = every[0]
    for run, part in every[1:]:
        if not np.array_equal(part.index, reference.index) or not np.array_equal(part.labels, reference.labels):
            raise UserError(
                f"{run.name} and {first.name} were tested on different images, so that they cannot be put together; "
                "choose experiments of the same classes by name"
            )


def joined(conditions: Mapping[str, Sequence[Answers]]) -> list[Answers]:
    """The answers of several conditions as if one network had given them all: arms are named `arm@condition`.

    A sum of arms over conditions, such as a slope, is then a sum like any other. The images are those of any condition,
    N of them. An arm that was right in a share m of its own n images has m on all N, and on its own moreover
    (right - m) N / n: its mean is m, and an image that several conditions share brings all that it says together.

    Returns:
        The clusters that all conditions have.
    """
    every = np.unique(np.concatenate([part.index for parts in conditions.values() for part in parts]))
    by_name = [{part.cluster: part for part in parts} for parts in conditions.values()]
    shared = [name for name in by_name[0] if all(name in found for found in by_name)]
    return [
        Answers(
            name,
            every,
            {
                f"{arm}@{condition}": _spread(right, found[name].index, every)
                for condition, found in zip(conditions, by_name, strict=True)
                for arm, right in found[name].right.items()
            },
        )
        for name in shared
    ]


def _spread(right: np.ndarray, index: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Answers (n,) to the images of an index, over all images (N,)."""
    mean = right.mean()
    spread = np.full(len(every), float(mean))
    spread[np.searchsorted(every, index)] += (right - mean) * len(every) / len(index)
    return spread
