"""A DVC remote in earnest: a colleague's clone gets what was computed, and computes nothing."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.conftest import Clone
from tests.pipeline.test_damage import flip

pytestmark = pytest.mark.slow

ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The address of a server on this machine that speaks S3's protocol, with a bucket `results`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(urllib.request.Request(f"{address}/results", method="PUT"), timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    else:
        pytest.fail(log.read_text())
    yield address
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def computed(smallest, copy_of):
    """A clone with results, and a bare repository that it pushes to."""
    clone = copy_of(smallest)
    hub = clone.folder.with_name("hub.git")
    clone.git("init", "-q", "--bare", str(hub))
    clone.git("remote", "add", "origin", str(hub))
    return clone


def share(clone, url: str, address: str | None) -> str:
    """Push the commit, its artefacts, and an experiment of it by DVC and git; the experiment's name."""
    clone.dvc("remote", "add", "-f", "-d", "store", url)
    clone.dvc("remote", "modify", "store", "verify", "true")
    if address:
        clone.dvc("remote", "modify", "store", "endpointurl", address)
    clone.commit("remote")
    clone.git("push", "-q", "-f", "origin", "HEAD")
    clone.dvc("push")
    name = "s3" if address else "folder"
    clone.dvc("exp", "run", "-n", name, "-S", "compare.confidence=0.9")
    clone.dvc("exp", "push", "origin", name)
    clone.git("checkout", "-q", "--", ".")
    clone.dvc("checkout")
    return name


def colleague(clone, folder: Path):
    """A fresh clone of what was pushed, and nothing else."""
    clone.git("clone", "-q", clone.git("remote", "get-url", "origin").strip(), str(folder))
    return Clone(folder)


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` ran, but for the one that always runs."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage")]
    return [line for line in lines if "data/dvc.yaml:inputs" not in line]


def answer(clone) -> dict[str, float]:
    return clone.json("metrics/compare.json")["compare"]["primary"]


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_colleague_gets_results_and_experiments_and_computes_nothing(computed, tmp_path, kind, request, monkeypatch):
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)
    store = tmp_path / "store"
    address = request.getfixturevalue("s3") if kind == "s3" else None
    name = share(computed, "s3://results/dvc" if address else str(store), address)

    other = colleague(computed, tmp_path / "colleague")
    other.dvc("pull")
    for path in (
        "data/checkpoints/resnet/seed0/full.safetensors",
        "data/features/convnext/train.npy",
        "plots/report.html",
    ):
        assert (other.folder / path).read_bytes() == (computed.folder / path).read_bytes()
    assert ran(other.dvc("repro")) == []
    other.dvc("exp", "pull", "origin", name)
    other.dvc("exp", "apply", name)
    assert yaml.safe_load((other.folder / "params.yaml").read_text())["compare"]["confidence"] == 0.9
    assert answer(other)["low"] > answer(computed)["low"]
    assert ran(other.dvc("repro")) == []
    if kind == "folder":
        for path in store.rglob("*/*"):
            if path.is_file() and path.stat().st_size > 1_000_000:
                flip(path)
        another = colleague(computed, tmp_path / "another")
        assert "data/features/convnext" in another.dvc("pull", fails=True)
        assert not (another.folder / "data/features/convnext/train.npy").exists()
