"""Experiments of this repository, read by DVC's API and git."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any

import dvc.api
import numpy as np
from dvc.exceptions import DvcException
from pydantic import ValidationError
from ruamel.yaml import YAML

from src.core import design, git
from src.core.errors import UserError
from src.core.records import Environment
from src.experiments.agree import Settings, listed, subset_of, used
from src.experiments.runs import Condition, Labelled, Run
from src.records.compare import Comparison
from src.records.evaluate import Evaluations
from src.records.finetune import Trainings
from src.settings import protocols
from src.settings.settings import flat
from src.stats import intervals
from src.storage import paths, revisions

HEAD = "HEAD"


def names_of_head() -> list[str]:
    """The experiments of the current commit that have results, by name; and the commit itself, if it has."""
    rows = dvc.api.exp_show()
    names = sorted(row["Experiment"] for row in rows if row["Experiment"] and row["State"] in (None, "Success"))
    return [*names, HEAD] if committed() else names


def committed() -> bool:
    """Whether the current commit holds results of its own settings and code, all of which can be read.

    They are others' where params.yaml says other values than dvc.lock, or code changed since that was committed.
    """
    files = system(HEAD)
    if not all(files.exists(name) for name in ("dvc.lock", "params.yaml")):
        return False
    if not agree_with_lock(files.read_text("params.yaml"), files.read_text("dvc.lock")):
        return False
    since = git.output("log", "-1", "--no-show-signature", "--format=%H", "--", "dvc.lock").decode().strip()
    if git.output("diff", "--name-only", since, HEAD, "--", "src", "stages", "dvc.yaml"):
        return False
    try:
        return compared(HEAD) is not None
    except UserError as error:
        print(f"left out: {error}")
        return False


def agree_with_lock(params: str, lock: str) -> bool:
    """Whether the stages of a dvc.lock ran with the settings of a params.yaml, both given as text."""
    yaml = YAML(typ="safe")
    settings, stages = yaml.load(params), yaml.load(lock)["stages"]
    ran = [stage.get("params", {}).get("params.yaml", {}) for stage in stages.values()]
    return all(_value(settings, name) == value for part in ran for name, value in part.items())


def _value(params: Mapping[str, Any], name: str) -> Any:
    """A setting or section by its dotted name; None if there is none."""
    for word in name.split("."):
        params = params.get(word) if isinstance(params, Mapping) else None  # type: ignore[assignment]
    return params


def comparisons(chosen: Sequence[str]) -> dict[str, Comparison]:
    """The comparisons of the experiments that were named, or of those of the current commit.

    Raises:
        UserError: one that was named has no results, there are none at all, or there is no repository to look in.
    """
    git.place()
    names = list(dict.fromkeys(chosen)) or names_of_head()
    loaded = {name: comparison for name in names if (comparison := compared(name)) is not None}
    lacking = [name for name in names if name not in loaded]
    if chosen and lacking:
        raise UserError(f"{lacking[0]}: it has no {paths.record('compare')} of this pipeline; run all stages of it")
    if lacking:
        print(f"left out, without {paths.record('compare')}: {listed(lacking)}")
    if not loaded:
        raise UserError("no finished experiment is derived from the current commit; `make sweep` runs some")
    return loaded


def settings(name: str) -> dict[str, Any]:
    """An experiment's settings, `finetune.lr` and so on, without those that are switched off."""
    return used(flat(protocols.filled(YAML(typ="safe").load(system(name).read_text("params.yaml")))))


@cache
def system(name: str) -> dvc.api.DVCFileSystem:
    """The files of an experiment."""
    return revisions.system(name)


def compared(name: str) -> Comparison | None:
    """An experiment's comparison; None if it has none, or one of an older pipeline.

    Raises:
        UserError: there is no such experiment, or DVC's cache lacks its record.
    """
    path = paths.record("compare").as_posix()
    try:
        files = system(name)
        # Both are in git: DVC would look for an output in its remote, and tell a lost one from none by its network.
        if not files.exists(paths.metrics("compare").as_posix()) or not files.exists("dvc.lock"):
            return None
        if f"path: {path}\n" not in files.read_text("dvc.lock"):
            return None
    except DvcException as error:
        why = " ".join(str(error).split())
        raise UserError(f"{name}: {why}; `dvc exp list` names the experiments of this commit") from None
    try:
        return Comparison.model_validate_json(read_cached(name, path))
    except ValidationError:
        return None


def read_cached(name: str, path: str) -> bytes:
    """The bytes of one of an experiment's outputs.

    Raises:
        UserError: DVC's cache lacks it.
    """
    return revisions.read_bytes(system(name), name, path)


def arrays(name: str, path: str) -> dict[str, np.ndarray]:
    """The arrays of one of an experiment's outputs.

    Raises:
        UserError: DVC's cache lacks it.
    """
    with np.load(BytesIO(read_cached(name, path)), allow_pickle=False) as archive:
        return dict(archive)


def environments(name: str, comparison: Comparison) -> Iterator[Environment]:
    """The machines that an experiment's records name: of every training and every evaluation.

    Raises:
        UserError: DVC's cache lacks a record.
    """
    cells = dict.fromkeys(design.cell(arm.arm) for arm in comparison.arms)
    for cell in cells:
        record = read_cached(name, paths.record(paths.cell_name(cell)).as_posix())
        for arms in Evaluations.model_validate_json(record).seeds.values():
            yield from (arm.environment for arm in arms.values())
        role, column = cell.split(".")
        if column == "finetuned":
            record = read_cached(name, paths.record(f"finetune_{role}").as_posix())
            for methods in Trainings.model_validate_json(record).seeds.values():
                yield from (training.environment for training in methods.values())


def run_of(name: str, settings: Settings, comparison: Comparison) -> Run:
    """One experiment's predictions, costs and titles.

    Raises:
        UserError: its predictions are not in DVC's cache.
    """
    series, subset = subset_of(settings)
    arms = {arm.arm: arm for arm in comparison.arms}
    classes, shots, pixels = len(comparison.classes), settings["prepare.shots"], settings["image_size"]
    subsets = {seed: arrays(name, paths.subset(seed).as_posix()) for seed in comparison.seeds}
    both = {seed: answers(name, seed, list(arms), part) for seed, part in subsets.items()}
    return Run(
        name=name,
        condition=Condition(series, classes, shots, pixels),
        subset=subset,
        images=float(np.mean([len(part["train_index"]) for part in subsets.values()])) / classes,
        base_classes=comparison.base_classes.count,
        test={seed: test for seed, (test, _) in both.items()},
        validation={seed: validation for seed, (_, validation) in both.items()},
        titles={name: arm.title for name, arm in arms.items()},
        costs={name: arm.cost for name, arm in arms.items()},
        val_accuracy={name: arm.val_accuracy for name, arm in arms.items()},
        cells=comparison.cells,
        question=comparison.primary.weights,
    )


def answers(name: str, seed: int, arms: Sequence[str], subset: Mapping[str, np.ndarray]) -> tuple[Labelled, Labelled]:
    """What arms got right under one seed, on the test and on the validation images.

    An arm that was watched on other images than those held out for validation (`finetune.watch`), or on none, has no
    validation answers.
    """
    test: dict[str, np.ndarray] = {}
    validation: dict[str, np.ndarray] = {}
    for arm in arms:
        folder = paths.of_seed(paths.predictions(design.cell(arm)), seed)
        part = arrays(name, (folder / f"{design.split(arm)[1]}.npz").as_posix())
        test[arm] = intervals.correct(part["logits"], part["labels"])
        if len(subset["val_labels"]) and np.array_equal(part["val_labels"], subset["val_labels"]):
            validation[arm] = intervals.correct(part["val_logits"], part["val_labels"])
    return (
        Labelled(str(seed), part["index"], test, part["labels"]),
        Labelled(str(seed), subset["val_index"], validation, subset["val_labels"]),
    )
