"""A sweep as a user runs it: failures, kills, repetitions and the curves drawn from it."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from itertools import product

import psutil
import pytest

from tests.helpers import toy_pipeline


def run_sweep(clone, *words, fails=False):
    return clone.run(sys.executable, "-m", "src.sweep", *words, fails=fails)


def logs(clone):
    """What every task of the queue printed."""
    return "".join(path.read_text() for path in (clone.folder / ".dvc/tmp/exps/run").rglob("*.out"))


@pytest.fixture(scope="module")
def toy(make_clone):
    return toy_pipeline.replace(make_clone())


def test_a_failed_experiment_is_named_with_its_reason_and_the_others_finish(toy):
    toy.dvc("exp", "run", "--queue", "-n", "theirs", "-S", "classes=12")
    words = ("--classes", "11", "2", "--seeds", "0", "--subset-seeds", "0", "1", "--jobs", "2")
    output = run_sweep(toy, *words, fails=True)
    lines = output.splitlines()
    assert lines[0].startswith("4 experiments of commit ")
    assert len([line for line in lines if re.match(r"\[\d/4\] k11-subset[01]-px\d+-seeds0-\w+ failed:", line)]) == 2
    assert len([line for line in lines if re.match(r"\[\d/4\] k02-subset[01]-px\d+-seeds0-\w+ finished", line)]) == 2
    assert output.count("    error: classes = 11: too many") == 2
    assert lines[-1].startswith("error: 2 of 4 experiments failed: k11-subset")
    assert "Traceback" not in output
    assert logs(toy).count("Running stage 'embed'") == 1
    assert re.search(r"theirs\s.*Failed", toy.dvc("queue", "status"))  # and left there
    assert toy.git("status", "--short") == ""


def test_run_again_it_does_what_is_missing_alone(toy):
    before = logs(toy).count("Reproducing experiment")
    words = ("--classes", "2", "3", "--seeds", "0", "--subset-seeds", "0")
    output = run_sweep(toy, *words)
    assert ", 1 of them finished\n" in output
    assert "k02" not in output
    assert logs(toy).count("Reproducing experiment") == before + 1
    output = run_sweep(toy, *words)
    assert re.fullmatch(r"2 experiments of commit \w+, 2 of them finished\n", output)
    assert logs(toy).count("Running stage 'embed'") == 1


@pytest.fixture
def slow(toy):
    """What starts a sweep of slow experiments, one of a minute; workers of the clone are ended when the test is."""

    def begin(*words):
        one = ("--classes", "2", "--seeds", "0", "-S", "finetune.epochs=60")
        command = [sys.executable, "-m", "src.sweep", *(words or one)]
        return subprocess.Popen(command, cwd=toy.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    yield begin
    for process in processes(toy):
        with contextlib.suppress(psutil.Error):
            process.kill()


def processes(clone, word=""):
    """What runs in a clone and has this word in its command, the temporary folders of experiments included."""
    result = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            inside = process.cwd().startswith(str(clone.folder))
            if inside and word in " ".join(process.cmdline()):
                result.append(process)
    return result


def at_work(clone):
    """The folders in which experiments run, each in one of its own."""
    result = set()
    for process in processes(clone, "compare.py"):
        with contextlib.suppress(psutil.Error):
            result.add(process.cwd())
    return result


def wait_for(condition, seconds=120):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.5)


def test_the_first_experiment_runs_alone_and_then_as_many_as_there_are_jobs(toy, slow):
    """How each ended is told while the others run."""
    wait_for(lambda: not processes(toy, "queue-worker"))  # those of the tests before stop by themselves
    running_sweep = slow("--classes", "4", "5", "6", "--seeds", "0", "--jobs", "2", "-S", "finetune.epochs=12")
    lines, most = [], 0
    reader = threading.Thread(target=lambda: lines.extend(running_sweep.stdout))
    reader.start()
    while running_sweep.poll() is None:
        running = len(at_work(toy))
        assert running <= (2 if any(" finished; " in line for line in lines) else 1)
        most = max(most, running)
        time.sleep(0.2)
    reader.join()
    assert running_sweep.returncode == 0
    assert most == 2


def test_an_interrupted_sweep_goes_on_and_runs_lost_tasks_again(toy, slow):
    first = slow()
    wait_for(lambda: processes(toy, "compare.py"))
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate()
    assert first.returncode == 130
    assert "dvc queue stop" in output
    assert "The same command again" in output
    assert "Traceback" not in output

    for worker in processes(toy, "queue-worker"):
        worker.kill()
    second = slow()
    lines = []
    for line in second.stdout:
        lines.append(line)
        if "queued:" in line:  # anew
            break
    assert any("is running already" in line for line in lines)
    assert any("lost its worker and is queued again" in line for line in lines)
    wait_for(lambda: processes(toy, "compare.py"))
    second.send_signal(signal.SIGINT)
    second.communicate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "1"], "params.yaml: classes = 1: allowed is a whole number >= 2"),
        (["-S", "finetune.lr=fast"], "params.yaml: finetune.lr = 'fast'"),
        (["-S", "finetune.rate=1"], "finetune.rate"),
        (["-S", "finetune.lr=0.1,0.2"], "finetune.lr=0.1,0.2"),
        (["--jobs", "0"], "--jobs 0: allowed is 1 or more"),
        (["--seeds", "0", "0"], "params.yaml: seeds = [0, 0]: a value occurs twice"),
        (["--shots", "0"], "params.yaml: prepare.shots = 0: allowed is a number >= 1"),
        (["--classes", "10", "--subset-seeds", "0", "1"], "every subset of all 10 classes is the same"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_queued(toy, words, message):
    output = run_sweep(toy, *words, fails=True)
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1


def test_changed_settings_are_another_experiment_and_changed_code_is_refused(toy):
    words = ("--classes", "2", "--seeds", "0", "--subset-seeds", "0", "--dry-run")
    try:
        params = toy.folder / "params.yaml"
        assert " finished: classes=2 subset_seed=0 seeds=[0]" in run_sweep(toy, *words)
        params.write_text(params.read_text().replace("lr: null", "lr: 0.002"))
        assert " missing: classes=2 subset_seed=0 seeds=[0]" in run_sweep(toy, *words)
        (toy.folder / "src" / "new.py").write_text("")
        output = run_sweep(toy, *words, fails=True)
        assert output.startswith("error: src/new.py differs from the commit; commit first")
    finally:
        toy.git("checkout", "-q", ".")
        toy.git("clean", "-q", "-f", "src")


@pytest.fixture(scope="module")
def swept(make_clone):
    """A clone whose real pipeline, its smallest, ran at two class counts; a third had more classes than digits has."""
    clone = make_clone()
    smallest = {"methods": ["full"], "epochs": 1}
    clone.configure(controls=False, finetune=smallest, frozen={"readouts": ["linear", "random_head"]})
    clone.output = run_sweep(clone, "--classes", "11", "2", "3", "--seeds", "0", "1", fails=True)
    return clone


def test_a_sweep_of_the_pipeline_embeds_once_and_outlives_a_failure(swept):
    assert swept.output.count(" finished") == 2 + 1  # and the first line
    assert "error: classes = 11: the dataset has 10 classes" in swept.output
    embedded = re.findall(r" features each: ([\d,]+) embedded, ([\d,]+) there already", logs(swept))
    assert len(embedded) == 2
    assert [there for _, there in embedded].count("0") == 1  # the second finds what the first left
    assert logs(swept).count("Running stage 'compare'") == 2


def scale(clone, *names, fails=False):
    return clone.run(sys.executable, "-m", "src.experiments", "scaling", *names, fails=fails)


def test_scaling_draws_every_file_from_the_sweep_and_the_same_bytes_again(swept):
    output = scale(swept)
    assert "2 experiments, 2 seeds; 95% intervals" in output
    assert "margin 1 point, Holm over 2 conditions" in output
    folder = swept.folder / "plots" / "scaling"
    tables, kinds = ("accuracy", "gap", "compute", "base_classes", "region"), ("csv", "png", "svg")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) - {"crossings.csv"} == {".".join(parts) for parts in product(tables, kinds)}
    head, *rows = before["accuracy.csv"].decode().splitlines()
    assert head.startswith("series,k,shots,images,pixels,name,title,seeds,subsets,runs,mean,sd,low,high,covers,")
    assert len(rows) == 6  # three arms at two class counts
    scale(swept)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_scaling_refuses_a_name_that_is_none(swept):
    output = scale(swept, "nowhere", fails=True)
    assert output.startswith("error: nowhere: ")
    assert output.count("\n") == 1


def test_the_effect_of_a_setting_is_read_from_the_experiments_that_differ_in_it(swept):
    (name,) = [name for name in swept.dvc("exp", "list", "--name-only").split() if name.startswith("k03")]
    changed = ("classes=3", "seeds=[0, 1]", "finetune.lr=0.0001")
    swept.dvc("exp", "run", "--temp", "--name", "slower", *(word for setting in changed for word in ("-S", setting)))
    ask = (sys.executable, "-m", "src.experiments", "effects")
    output = swept.run(*ask, "--experiments", name, "slower")
    assert "2 experiments, 2 seeds each, 18 validation images of each seed" in output
    assert "  finetune.lr=null    0." in output
    assert re.search(r"  finetune\.lr=0\.0001  0\.\d{3} \[.*\]  +[+-]\d+\.\d \[.*\] points\n", output)
    frozen = (f"efficientnet_lite0 (convnext), frozen, {readout}" for readout in ("linear", "random head"))
    assert f"the same under each setting: {'; '.join(frozen)}\n" in output
    assert {path.name for path in (swept.folder / "plots" / "effects").iterdir()} == {"effects.csv", "differences.png"}
    assert " test images; " in swept.run(*ask, "--on", "test", "--experiments", name, "slower")
    assert "different images" in swept.run(*ask, fails=True)  # of all experiments, those of two classes too


def test_scaling_takes_branches_and_names_a_setting_that_differs(swept):
    name = next(name for name in swept.dvc("exp", "list", "--name-only").split() if name.startswith("k03"))
    swept.dvc("exp", "branch", name, "other")
    swept.git("checkout", "-q", "other")
    swept.configure(finetune={"lr": 0.002})
    output = scale(swept, name, "other", fails=True)
    assert f"error: finetune.lr differs: null in {name}, 0.002 in other; choose runs that agree" in output
    assert "all runs have K = 3, all images, 32 px" in scale(swept, "other")
