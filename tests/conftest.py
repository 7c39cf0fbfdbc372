"""A clone of this working tree with toy settings, in which DVC runs as a user's would."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
RECORDER = ROOT / "tests" / "helpers" / "recorder"
TOY = {
    "dataset": "digits",
    "device": "cpu",
    "classes": 4,
    "seeds": [0],
    "image_size": 32,
    "prepare": {"val_fraction": 0.2, "per_class": 30},
    "resnet": {"arch": "efficientnet_lite0"},
    "convnext": {"arch": "efficientnet_lite0"},
    "finetune": {"epochs": 2, "batch_size": 16},
    "tune": {"configurations": 1},
}


def pytest_configure() -> None:
    """Ctrl-C is heard by what the tests start, though a shell makes what it runs in the background deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What takes such a fixture takes minutes: whole pipelines, sweeps, processes that are killed, browsers.
SLOW_FIXTURES = {
    "browser",
    "everything",
    "exported",
    "five",
    "prepared",
    "ray",
    "small",
    "smallest",
    "swept",
    "toy",
    "trained",
    "watched",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves to `make test-all`."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


class Clone:
    """A repository in a temporary folder, and what a user types in it."""

    def __init__(self, folder: Path, output: str = "") -> None:
        self.folder = folder
        self.output = output  # of the `dvc repro` that made it what it is

    @property
    def records(self) -> Path:
        """Where the stages note what they do, if there is such a folder; see tests/helpers/recorder."""
        return self.folder.with_suffix(".records")

    def fill(self) -> "Clone":
        """Make it a repository of what git knows or would take of this working tree, with toy settings."""
        folder = self.folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
        )
        for name in listed.stdout.splitlines():
            results = name.startswith(("plots/", "metrics/")) and not name.endswith(".gitignore")
            if (ROOT / name).exists() and not results and not name.startswith(("tests/", "docs/")):
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

    def command(self, stage: str) -> list[str]:
        """The command of a stage of dvc.yaml."""
        path = self.folder / ("data/dvc.yaml" if stage == "inputs" else "dvc.yaml")
        python, *words = yaml.safe_load(path.read_text())["stages"][stage]["cmd"].split()
        assert python == "python"
        return [sys.executable, *words]

    def stage(self, name: str, fails: bool = False) -> str:
        return self.run(*self.command(name), fails=fails)

    def module(self, name: str, *words: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", name, *words, fails=fails)

    def stages(self, *names: str) -> str:
        """Several stages in one process, since PyTorch takes seconds to import."""
        lines = ["from importlib import import_module", "from src.settings.settings import load", "settings = load()"]
        for name in names:
            _, _, module, *words = self.command(name)
            lines.append(f"import_module({module!r}).main(settings, *{words})")
        return self.run(sys.executable, "-c", "\n".join(lines))

    def run(self, *command: str, fails: bool = False) -> str:
        """Both streams of a command, which must end with status 0, unless it `fails`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": "", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        if self.records.is_dir():
            environment |= {"PYTHONPATH": str(RECORDER), "RECORD": str(self.records)}
        # PYTHONUNBUFFERED shows what was printed in another order, CI leaves lines out.
        for name in ("DVC_ROOT", "PYTHONUNBUFFERED", "CI"):
            environment.pop(name, None)
        done = subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text())

    def hashes(self) -> dict[str, str]:
        """The hash of every output in dvc.lock; not of those that hold times: metrics, records and the page."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
        timed = ("metrics/", "data/results/", "plots/report")
        return {out["path"]: out["md5"] for out in outs if not out["path"].startswith(timed)}


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """New folders, which go with the tests of the module: a repository and its cache take up to 200 MB."""
    root = tmp_path_factory.mktemp("clones")
    yield lambda: Path(tempfile.mkdtemp(dir=root))
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def make_clone(clones: Callable[[], Path]) -> Callable[[], Clone]:
    return lambda: Clone(clones()).fill()


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
                clone.records.mkdir()
                (root / f"{name}.txt").write_text(clone.dvc("repro"))
                clone.commit("results")
                clone.records.rename(root / f"{name}.records")
                clone.folder.rename(root / name)
        return Clone(root / name, (root / f"{name}.txt").read_text())

    return get


@pytest.fixture(scope="session")
def whole(reproduced: Callable[..., Clone]) -> Clone:
    """The pipeline with its controls, a search and two seeds; tests take copies of it."""
    return reproduced("whole", seeds=[0, 1], tune={"configurations": 2})


@pytest.fixture(scope="session")
def everything(whole: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The same where the stages that are off by default ran too, and the question is another one."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with FileLock(root / "everything.lock"):
        clone = Clone(root / "everything")
        if not clone.folder.exists():
            copy = copied(whole, tmp_path_factory.mktemp("everything"))
            few = {"images": 4, "severities": [3], "attacks": ["fgsm"], "epsilons": [8.0], "steps": 1}
            copy.configure(backbones=["efficientnet_lite0", "efficientnet_lite0@random"])
            copy.configure(compare={"question": ["resnet.frozen", "convnext.finetuned"]})
            copy.configure(robustness={"enabled": True, **few})
            copy.records.mkdir()
            stages = ("inputs", "weights", "backbones", "compare", "robustness", "report")
            (root / "everything.txt").write_text("".join(map(copy.stage, stages)))
            copy.records.rename(clone.records)
            copy.folder.rename(clone.folder)
    return Clone(clone.folder, (root / "everything.txt").read_text())


@pytest.fixture(scope="session")
def smallest(reproduced: Callable[..., Clone]) -> Clone:
    """The report's two arms alone; tests take copies of it."""
    return reproduced("smallest", controls=False, frozen={"readouts": ["linear"]}, finetune={"epochs": 1})


@pytest.fixture(scope="module")
def copy_of(clones: Callable[[], Path]) -> Callable[[Clone], Clone]:
    """A copy of a clone that a test may change: files, history and DVC's cache."""
    return lambda clone: copied(clone, clones())


def copied(clone: Clone, parent: Path) -> Clone:
    return Clone(shutil.copytree(clone.folder, parent / "clone", symlinks=True), clone.output)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A `ToyExperiment`, in whose folder the tests of the module run."""
    from tests.helpers.toy_experiment import ToyExperiment

    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("experiment"))
    yield ToyExperiment()
    os.chdir(here)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()
