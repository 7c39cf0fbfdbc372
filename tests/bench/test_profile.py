"""The split of an experiment's time: every stack in one phase, and nothing lost."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.bench import profile
from src.core.errors import UserError
from src.demo import SETTINGS

ROOT = "__main__.<module>;stages.run;__main__.main"
STACKS = {
    "python": 0.125,
    f"{ROOT};src.finetune.loop.train;src.finetune.loop.train_epoch;torch.nn.modules.module._call_impl": 4.0,
    f"{ROOT};src.finetune.loop.train;src.finetune.loop.validate;src.nets.inference.predict": 2.0,
    f"{ROOT};src.finetune.loop.prepare;importlib._bootstrap._find_and_load;torch.distributed.<module>": 1.0,
    f"{ROOT};src.storage.files.write_figure;matplotlib.figure.savefig": 0.5,
    f"{ROOT};src.storage.files.write_figure;src.storage.files.replacing": 0.25,
    f"{ROOT};src.storage.files.write_json": 0.0625,
    f"{ROOT};src.evaluate.timing.readout;src.readouts.linear.scale": 32.0,
    f"{ROOT};subprocess.run": 8.0,
    "end": 16.0,
}
EXPECTED = {"starting": 1.125, "training": 4.0, "inference": 2.0, "timing": 32.0, "drawing": 0.75, "writing": 0.0625}
EXPECTED["other"] = 24.0


def test_a_stack_belongs_to_the_innermost_call_that_is_a_phase_and_to_starting_if_it_imports():
    seconds = profile.split(STACKS)
    assert {name: some for name, some in seconds.items() if some} == EXPECTED
    assert sum(seconds.values()) == sum(STACKS.values())


def test_every_phase_names_code_that_there_is():
    for start in (start for starts in profile.PHASES.values() for start in starts if start.startswith("src.")):
        *parts, function = start.split(".")
        module = Path(*parts).with_suffix(".py")
        assert module.exists() or (Path(*parts).is_dir() and not function), start
        assert not function or f"def {function}" in module.read_text(), start


def test_the_processes_of_a_stage_are_added_and_stages_are_in_their_order(tmp_path):
    for number, stage in enumerate(("inputs", "tune", "tune")):
        path = tmp_path / f"{9 - number}.json"
        path.write_text(json.dumps({"stage": stage, "stacks": STACKS}))
        os.utime(path, (number, number))
    found = profile.read(tmp_path)
    assert list(found) == ["inputs", "tune"]
    assert found["tune"]["training"] == 2 * found["inputs"]["training"] == 8.0


def test_the_table_gives_what_stages_leave_to_dvc_and_adds_up():
    one, two = profile.split(STACKS), profile.split({"python": 1.0})
    lines = [line.strip("| ").split(" | ") for line in profile.table({"tune": one, "inputs": two}, 80.0)]
    rows = {name: dict(zip(lines[0][1:], cells, strict=True)) for name, *cells in lines[2:]}
    assert rows["tune"]["whole"] == "63.9"
    assert rows["DVC"]["whole"] == "15.1"  # 80 less 63.9375 and 1
    assert rows["all"] == dict.fromkeys(profile.PHASES, "0.0") | {
        **{name: f"{some:.1f}" for name, some in EXPECTED.items()},
        "starting": "2.1",
        "whole": "80.0",
    }
    assert (rows["share"]["other"], rows["share"]["whole"]) == ("30%", "100%")


def test_the_mean_of_runs_adds_up_where_a_stage_ran_in_one_of_them():
    one, two = profile.split({"python": 1.0}), profile.split({"python": 3.0})
    found = profile.mean([{"inputs": one, "tune": one}, {"inputs": two}])
    assert (found["inputs"]["starting"], found["tune"]["starting"]) == (2.0, 0.5)


def test_settings_become_words_of_dvc():
    assert profile.words_of({"a": {"b": [1, "x"]}, "c": False}) == ["a.b=[1,x]", "c=false"]
    assert "finetune.schedule=one_cycle" in profile.words_of(SETTINGS)


def test_no_run_is_refused():
    with pytest.raises(UserError, match=r"--runs 0: allowed is 1 or more"):
        profile.parse(["--runs", "0"])


def test_the_phases_of_a_stage_add_up_to_the_time_that_it_took(make_clone, tmp_path):
    clone, samples = make_clone(), tmp_path / "samples"
    samples.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(profile.SAMPLER)}
    command = [sys.executable, "-m", "stages.inputs"]
    subprocess.run(command, cwd=clone.folder, env=environment, check=True)
    assert not list(samples.iterdir())
    start = time.perf_counter()
    subprocess.run(command, cwd=clone.folder, env={**environment, "SAMPLES": str(samples)}, check=True)
    whole = time.perf_counter() - start
    ((stage, seconds),) = profile.read(samples).items()
    assert stage == "inputs"
    assert whole / 2 < sum(seconds.values()) < whole
    assert seconds["starting"] > sum(seconds.values()) / 2
