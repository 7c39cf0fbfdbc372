"""The experiments that a page is made of: those of this commit, run where they are missing, or others by name."""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from ruamel.yaml import YAML

from src.core import git
from src.core.errors import UserError
from src.core.records import Record
from src.settings.settings import Settings, flat, load
from src.storage import paths, revisions
from src.sweep import plan, queue
from src.sweep.__main__ import CODE, by_queue, settings_with
from src.sweep.queue import SweepProgress

IGNORED = {"protocol", "device"}  # the word itself and the device change no settings of the recipe
AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True)
class Experiment:
    """A finished experiment by its name, or by any git revision with results, and its settings."""

    name: str
    settings: Settings

    @cached_property
    def system(self) -> DVCFileSystem:
        """Its files; opening them takes longer than reading one."""
        return revisions.system(self.name)

    def read(self, path: Path) -> bytes:
        """The bytes of one of its outputs.

        Raises:
            UserError: DVC's cache lacks it.
        """
        return revisions.read_bytes(self.system, self.name, path.as_posix())

    def record(self, path: Path, kind: type[AnyRecord]) -> AnyRecord:
        """One of its records."""
        return kind.model_validate_json(self.read(path))

    def arrays(self, path: Path) -> dict[str, np.ndarray]:
        """The named arrays of a .npz file."""
        with np.load(BytesIO(self.read(path)), allow_pickle=False) as archive:
            return dict(archive)

    def array(self, path: Path) -> np.ndarray:
        """The array of a .npy file."""
        loaded: np.ndarray = np.load(BytesIO(self.read(path)), allow_pickle=False)
        return loaded

    def by_seed(self, cell: str, adaptation: str) -> dict[int, dict[str, np.ndarray]]:
        """The predictions of one arm under every seed."""
        folder = paths.predictions(cell)
        return {seed: self.arrays(paths.of_seed(folder, seed) / f"{adaptation}.npz") for seed in self.settings.seeds}


def options(command: str, about: str) -> argparse.ArgumentParser:
    """What both commands take."""
    parser = argparse.ArgumentParser(prog=f"python -m src.reproduction {command}", description=about)
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2", "3", "4"], help="of each experiment")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time, after the first")
    parser.add_argument("-S", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="of params.yaml")
    parser.add_argument(
        "--from", dest="names", nargs="+", default=[], metavar="NAME", help="draw these experiments, and run none"
    )
    return parser


def seeds_option(seeds: Sequence[str]) -> str:
    """The setting of these seeds, as `dvc exp run -S` takes it."""
    return f"seeds=[{','.join(seeds)}]"


def finished(wanted: Sequence[Sequence[str]], jobs: int) -> list[Experiment]:
    """The experiments with these overrides at this commit, in the same order; what is missing is run in DVC's queue.

    Raises:
        UserError: an override is wrong, the code is not committed, or experiments failed; it names them.
    """
    commit = queue.require_ready(CODE)
    settings = [settings_with(overrides) for overrides in wanted]
    planned = [
        plan.planned(tuple(overrides), part.model_dump(), commit)
        for overrides, part in zip(wanted, settings, strict=True)
    ]
    missing = plan.unique(planned)
    progress = SweepProgress(missing, queue.finished(commit))
    print(f"{len(missing)} experiments of commit {commit[:7]}, {progress.ended} of them finished", flush=True)
    if progress.waiting:
        by_queue(progress, commit, jobs)
    if progress.failed:
        raise UserError(
            f"{', '.join(progress.failed)} failed; correct the cause and run the same command again, which runs what is"
            " missing"
        )
    return [Experiment(one.name, part) for one, part in zip(planned, settings, strict=True)]


def named(names: Sequence[str]) -> list[Experiment]:
    """The experiments with these names, or revisions, as they are.

    Raises:
        UserError: there is no such experiment, or its settings are not those of this pipeline.
    """
    git.place()
    return [Experiment(name, _settings_of(name)) for name in dict.fromkeys(names)]


def _settings_of(name: str) -> Settings:
    """The settings of an experiment. Those that were given up since it was made are left out, and named."""
    try:
        values = YAML(typ="safe").load(revisions.system(name).read_bytes("params.yaml"))
    except (OSError, DvcException) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{name}: {why}; `dvc exp list --all-commits` names experiments") from None
    known = {*flat(Settings().model_dump()), "resume"}
    for setting in [setting for setting in flat(values) if setting not in known]:
        section, _, key = setting.rpartition(".")
        del (values[section] if section else values)[key]
        print(f"{name}: {setting} is no setting any more, and is left out")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        YAML().dump(values, path)
        try:
            return load(path)
        except UserError as error:
            raise UserError(f"{name}: {str(error).removeprefix(f'{folder}/')}") from None


def matching(overrides: Sequence[str], experiments: Sequence[Experiment]) -> Experiment | None:
    """The experiment whose settings are those of the overrides, apart from the protocol's word and the device."""
    wanted = recipe(settings_with(overrides))
    return next((one for one in experiments if recipe(one.settings) == wanted), None)


def recipe(settings: Settings) -> Mapping[str, Any]:
    """All settings that decide a result."""
    return settings.model_dump(exclude=IGNORED)


def shortest(explicit: Sequence[str], words: Sequence[Sequence[str]]) -> Sequence[str]:
    """The first of some overrides that say the same as explicit ones, which then share an experiment; or these."""
    wanted = recipe(settings_with(explicit))
    for overrides in words:
        with suppress(UserError):  # what a protocol does not allow
            if recipe(settings_with(overrides)) == wanted:
                return overrides
    return explicit
