"""A clone of this working tree with toy settings, in which DVC runs as a user's would."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[1]
TOY = {
    "dataset": "digits",
    "device": "cpu",
    "classes": 4,
    "prepare": {"val_fraction": 0.2, "per_class": 30},
    "resnet": {"arch": "efficientnet_lite0"},
    "convnext": {"arch": "efficientnet_lite0"},
    "finetune": {"epochs": 2, "batch_size": 16},
    "compare": {"resamples": 500},
}


def pytest_configure() -> None:
    """Ctrl-C is heard by what the tests start, though a shell makes what it runs in the background deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Clone:
    """A repository in a temporary folder, and what a user types in it."""

    def __init__(self, folder: Path, output: str = "") -> None:
        self.folder = folder
        self.output = output  # of the `dvc repro` that made it what it is

    def fill(self) -> "Clone":
        """Make it a repository of what git knows or would take of this working tree, with toy settings."""
        folder = self.folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).exists() and not name.startswith(("tests/", "docs/")):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((ROOT / name).read_bytes())
        for lock in ("dvc.lock", "data/dvc.lock"):
            (folder / lock).unlink(missing_ok=True)
        self.git("init", "-q")
        self.git("config", "user.name", "test")
        self.git("config", "user.email", "test@localhost")
        self.configure(**TOY)
        return self

    def configure(self, **settings: object) -> None:
        """Change settings in params.yaml, sections key by key, and commit."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for name, value in settings.items():
            if isinstance(value, dict):
                values[name].update(value)
            else:
                values[name] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        self.commit("settings")

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, fails=fails)

    def stage(self, name: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", f"stages.{name}", fails=fails)

    def run(self, *command: str, fails: bool = False) -> str:
        """Both streams of a command, which must end with status 0, unless it `fails`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": "", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        for name in ("DVC_ROOT", "PYTHONUNBUFFERED"):  # the latter shows what was printed in another order
            environment.pop(name, None)
        done = subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text())

    def hashes(self) -> dict[str, str]:
        """The hash of every cached output in dvc.lock; not of what tells times, the metrics and the page."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
        return {out["path"]: out["md5"] for out in outs if not out["path"].startswith(("metrics/", "plots/report"))}


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Clone]:
    return lambda: Clone(tmp_path_factory.mktemp("clone")).fill()


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Clone]:
    """A clone after its first `dvc repro` with some settings, committed: made by one of the processes that test."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def get(name: str, **settings: object) -> Clone:
        with FileLock(root / f"{name}.lock"):
            if not (root / name).exists():
                clone = Clone(root / f"{name}.part").fill()
                clone.configure(**settings)
                (root / f"{name}.txt").write_text(clone.dvc("repro"))
                clone.commit("results")
                clone.folder.rename(root / name)
        return Clone(root / name, (root / f"{name}.txt").read_text())

    return get


@pytest.fixture(scope="session")
def whole(reproduced: Callable[..., Clone]) -> Clone:
    """All of the pipeline; tests take copies of it."""
    return reproduced("whole")


@pytest.fixture(scope="session")
def smallest(reproduced: Callable[..., Clone]) -> Clone:
    """The report's two arms alone; tests take copies of it."""
    return reproduced("smallest", controls=False, frozen={"readouts": ["linear"]}, finetune={"epochs": 1})


@pytest.fixture(scope="session")
def copy_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Clone], Clone]:
    """A copy of a clone that a test may change: files, history and DVC's cache."""

    def copy(clone: Clone) -> Clone:
        folder = shutil.copytree(clone.folder, tmp_path_factory.mktemp("copy") / "clone", symlinks=True)
        return Clone(folder, clone.output)

    return copy
