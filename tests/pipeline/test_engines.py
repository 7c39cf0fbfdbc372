"""A sweep in Ray and submitit as a user runs it: real engines on this machine, and a small pipeline."""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from src.nets import models
from src.storage import files
from tests.helpers import toy_pipeline
from tests.helpers.dvc_cache import damaged

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="needs requirements-cluster.txt")
pytest.importorskip("submitit", reason="needs requirements-cluster.txt")

# The small pipeline, which also reads a file that lies in the user's folder alone, and says how many threads it has.
OUTSIDE = """
import os
from src.storage import paths
settings["outside"] = paths.from_root("outside.txt").read_text() if settings["folder"] else None
settings["threads"] = os.environ["OMP_NUM_THREADS"]
"""


def toy(make_clone):
    clone = toy_pipeline.replace(make_clone())
    compare = clone.folder / "compare.py"
    compare.write_text(compare.read_text().replace("time.sleep(", f"{OUTSIDE}time.sleep("))
    clone.commit("a file outside")
    return clone


@pytest.fixture(scope="module")
def shared(make_clone):
    """A clone whose folder every task sees."""
    clone = toy(make_clone)
    with (clone.folder / ".git/info/exclude").open("a") as file:
        file.write("outside.txt\n")
    (clone.folder / "outside.txt").write_text("the user's own")
    return clone


@pytest.fixture(scope="module")
def ray():
    """The options that lead to a Ray cluster of one machine, which runs while these tests do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    settings = {"RAY_process_group_cleanup_enabled": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    cluster = subprocess.Popen(
        [*command, "--include-dashboard=false"], env={**os.environ, **settings, **access}, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in access.items():
            patch.setenv(name, value)
        yield "ray", "--address", f"127.0.0.1:{port}"
    cluster.terminate()
    cluster.wait()


def sweep(clone, *words, fails=False):
    return clone.run(sys.executable, "-m", "src.sweep", "--cpus", "1", "--engine", *words, fails=fails)


def results(clone):
    """metrics/compare.json of every experiment of the present commit, by the class count in its name: `k02`."""
    actual = {}
    for name in clone.git("for-each-ref", "--format=%(refname)", "refs/exps").split():
        if not name.startswith("refs/exps/exec"):
            actual[name.split("/")[-1].split("-")[0]] = json.loads(clone.git("show", f"{name}:metrics/compare.json"))
    return actual


def logs(clone):
    return "".join(path.read_text() for path in (clone.folder / ".dvc/tmp/sweep").glob("*.log"))


def running(clone, word):
    """The processes at work in a clone, or in a task's clone of it, with this word in their command."""
    result = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            inside = process.cwd().startswith(str(clone.folder))
            if inside and word in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                result.append(process)
    return result


def wait_for(condition, seconds=180):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.2)


def begin(clone, *words):
    """Start a sweep, and collect its lines while it runs."""
    command = [sys.executable, "-m", "src.sweep", "--cpus", "1", "--seeds", "0", "--engine", *words]
    process = subprocess.Popen(command, cwd=clone.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()

    def end():
        reader.join()
        return process.wait(), "".join(lines)

    return process, end


def test_an_experiment_that_fails_twice_is_named_and_the_others_finish(shared):
    shared.configure(folder="set")
    (shared.folder / "params.yaml").write_text((shared.folder / "params.yaml").read_text() + "\n# not committed\n")
    output = sweep(shared, "ray", "--classes", "11", "2", "3", "--seeds", "0", "--jobs", "2", fails=True)
    shared.git("checkout", "-q", "params.yaml")
    lines = output.splitlines()
    assert re.fullmatch(r"3 experiments of commit \w+, 0 of them finished", lines[0])
    assert re.search(r"k11-px\d+-seeds0-\w+ failed and is tried again: error: classes = 11: too many", output)
    assert re.search(r"\[\d/3\] k11-px\d+-seeds0-\w+ failed:\n(    .*\n)*    error: classes = 11: too many\n", output)
    assert lines[-1].startswith("error: 1 of 3 experiments failed: k11-px")
    assert "Traceback" not in output

    actual = results(shared)
    assert set(actual) == {"k02", "k03"}
    for count in (2, 3):
        metrics = actual[f"k{count:02d}"]
        assert (metrics["classes"], metrics["outside"], metrics["threads"]) == (count, "the user's own", "1")
    assert logs(shared).count("Running stage 'embed'") == 1
    assert shared.git("status", "--short") == ""
    assert list((shared.folder / ".dvc/tmp/exps").iterdir()) == []


def test_run_again_by_any_engine_it_does_what_is_missing_alone(shared):
    words = ("--classes", "2", "3", "4", "--seeds", "0")
    output = sweep(shared, "local", *words)
    assert ", 2 of them finished\n" in output
    assert output.count("submitted") == 1
    assert results(shared)["k04"]["classes"] == 4
    assert re.fullmatch(r"3 experiments of commit \w+, 3 of them finished\n", sweep(shared, "ray", *words))
    assert logs(shared).count("Running stage 'embed'") == 1
    assert {name[:3] for name in shared.dvc("exp", "list", "--name-only").split()} == {"k02", "k03", "k04"}


def kill_worker(process):
    """The process alone, as the kernel does that is short of memory: what becomes of its children is Ray's part."""
    os.kill(process.pid, signal.SIGKILL)


def kill_job(process):
    """The process and all that it started, as Slurm does when it ends a job."""
    for each in [*process.children(recursive=True), process]:
        each.kill()


@pytest.mark.parametrize(("engine", "kill", "count"), [("ray", kill_worker, 5), ("local", kill_job, 6)])
def test_a_task_whose_process_is_killed_is_run_again_and_leaves_nothing_behind(request, shared, engine, kill, count):
    words = request.getfixturevalue("ray") if engine == "ray" else [engine]
    _, end = begin(shared, *words, "--classes", str(count), "-S", "finetune.epochs=2")
    wait_for(lambda: running(shared, "compare.py"))
    stage = running(shared, "compare.py")[-1]
    kill(next(parent for parent in stage.parents() if re.search("ray::|submitit.core._submit", str(parent.cmdline()))))
    wait_for(lambda: not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE)
    status, output = end()
    assert status == 0, output
    assert " lost its worker and is tried again: " in output
    assert re.search(rf"\[1/1\] k0{count}-px\d+-seeds0-\w+ finished", output)
    assert list((shared.folder / ".dvc/tmp/exps").iterdir()) == []


def test_interrupted_it_ends_its_tasks_and_says_how_to_go_on(shared, ray):
    process, end = begin(shared, *ray, "--classes", "7", "-S", "finetune.epochs=60")
    wait_for(lambda: running(shared, "compare.py"))
    process.send_signal(signal.SIGINT)
    status, output = end()
    assert status == 130
    assert output.splitlines()[-1].startswith("The running experiments were stopped; ")
    assert "Traceback" not in output
    wait_for(lambda: not running(shared, "compare.py"))
    wait_for(lambda: not list((shared.folder / ".dvc/tmp/exps").iterdir()))


def test_without_a_shared_disk_everything_goes_through_the_two_remotes(make_clone, ray, tmp_path):
    clone = toy(make_clone)
    words = (*ray, "--git-remote", "origin", "--classes", "2", "3", "--seeds", "0", "--jobs", "2")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "git"], check=True)
    clone.git("remote", "add", "origin", str(tmp_path / "git"))
    message = sweep(clone, *words, fails=True)
    assert re.fullmatch(r"error: origin does not have the commit \w+: git push origin HEAD .*\n", message)
    clone.git("push", "-q", "origin", "HEAD")
    assert "a default DVC remote that every machine reaches" in sweep(clone, *words, fails=True)
    clone.dvc("remote", "add", "--default", "storage", str(tmp_path / "dvc"))
    clone.commit("a DVC remote")
    clone.git("push", "-q", "origin", "HEAD")

    sweep(clone, *words)
    assert {name: metrics["classes"] for name, metrics in results(clone).items()} == {"k02": 2, "k03": 3}
    assert logs(clone).count("Running stage 'embed'") == 1
    (name,) = [name for name in clone.dvc("exp", "list", "--name-only").split() if name.startswith("k03")]
    clone.dvc("exp", "pull", "origin", name)
    clone.dvc("exp", "apply", name)
    assert (clone.folder / "embedding.txt").read_text() == "x"

    clone.git("reset", "-q", "--hard")
    for experiment in clone.git("for-each-ref", "--format=%(refname)", "refs/exps").split():
        clone.git("update-ref", "-d", experiment)
    assert ", 2 of them finished\n" in sweep(clone, *words)  # they were in the git remote


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spark"], "--engine spark: allowed are queue, ray, slurm, local"),
        (["queue", "--gpus", "1"], "--cpus: DVC's queue has no such option; --engine ray or slurm has"),
        (["ray", "--address", "127.0.0.1:9"], "no Ray cluster answers at 127.0.0.1:9 "),
        (["ray", "--cpus", "9999"], "CPUS=9999 GPUS=0: this machine has "),
        (["ray", "--gpus", "-1"], "--gpus -1: allowed is 0 or more"),
    ],
)
def test_what_is_wrong_with_the_engine_is_said_in_one_line(shared, words, message):
    output = sweep(shared, *words, fails=True).splitlines()
    assert output[-1].startswith(f"error: {message}")
    assert len([line for line in output if "experiments of commit" not in line]) == 1


def test_an_engine_that_is_not_installed_is_refused_with_the_remedy(shared, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')")
    command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from src.sweep import engines; "
    output = shared.run(sys.executable, "-c", command + "engines.start('ray', 1, 0, None, 1)", fails=True)
    assert "ENGINE=ray needs ray, which is not installed: pip install -r requirements-cluster.txt" in output


# The real `inputs`, `download` and `weights`, and what came of the latter two.
SUMS = """
from src.storage import files, paths
made = paths.weights("resnet"), paths.weights("convnext"), paths.RAW / "train_images.npy"
sums = [files.sha256(path) for path in made]
files.write_json(paths.metrics("compare"), {"sums": sums})
"""


class Slow(BaseHTTPRequestHandler):
    """A server of one file, which takes two seconds to send it, and counts how often it is asked."""

    content, asked = b"", 0

    def do_GET(self) -> None:
        Slow.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        step = len(self.content) // 20 + 1
        for start in range(0, len(self.content), step):
            self.wfile.write(self.content[start : start + step])
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(tmp_path):
    """The address of ImageNet-like weights on a slow server, and their SHA-256."""
    path = tmp_path / "weights.pth"
    torch.save(models.build("mobilenet_v3_small", 1000, seed=7).state_dict(), path)
    Slow.content = path.read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/weights-{files.sha256(path)}.pth", files.sha256(path)
        server.shutdown()


def test_queue_workers_and_ray_at_once_share_one_download_and_cache(make_clone, ray, published, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    clone, (url, digest) = make_clone(), published
    stages = yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"]
    deps = ["compare.py", "data/raw", "data/weights/resnet.safetensors", "data/weights/convnext.safetensors"]
    params, metrics = ["classes", "seeds", "subset_seed"], [{"metrics/compare.json": {"cache": False}}]
    compare = {"cmd": "python compare.py", "deps": deps, "params": params, "metrics": metrics}
    chosen = {"download": stages["download"], "weights": stages["weights"], "compare": compare}
    (clone.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": chosen}))
    (clone.folder / "compare.py").write_text(SUMS)
    small = {"arch": "mobilenet_v3_small", "weights": url}
    clone.configure(resnet=small, convnext=small)

    clone.dvc("exp", "run", "--queue", "-S", "classes=2,3,4,5")
    clone.dvc("queue", "start", "-j", "4")
    output = sweep(clone, *ray, "--classes", "6", "7", "--seeds", "0", "--jobs", "2")
    assert output.count(" finished") == 2 + 1, output  # and the first line
    wait_for(lambda: clone.dvc("queue", "status").count("Success") == 4, seconds=240)

    names = clone.git("for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split()  # commit by commit
    names = [name for name in names if not name.startswith(("refs/exps/exec/", "refs/exps/celery/"))]
    result = [json.loads(clone.git("show", f"{name}:metrics/compare.json"))["sums"] for name in names]
    assert len(result) == 4 + 2
    assert all(sums == result[0] for sums in result)
    assert Slow.asked >= 2  # so that they did meet
    (kept,) = (path for path in (clone.folder / "data/downloads").iterdir())
    assert files.sha256(kept) == digest
    assert list(damaged(clone.folder / ".dvc/cache/files/md5")) == []
