"""dvc.yaml says what a run of each stage did: which code it reached, which settings and artefacts it touched."""

import json
from pathlib import Path

import pytest
import yaml

from src.core.section import Section
from src.settings.protocols import TABLE
from src.settings.settings import Settings

PIPELINE = {
    name: stage
    for path in ("data/dvc.yaml", "dvc.yaml")
    for name, stage in yaml.safe_load(Path(path).read_text())["stages"].items()
}
CONTROLS = ("embed_resnet", "finetune_convnext", "eval_resnet_frozen", "eval_convnext_finetuned")
# The code of a section of the settings counts as its values do, which DVC tracks under params.
SECTIONS = {type(value).__name__: name for name, value in Settings() if isinstance(value, Section)}


# Settings that are read for some datasets alone, and not for the digits that are recorded here.
OF_OTHER_DATASETS = {"folder", "download.max_side"}


@pytest.fixture(scope="module")
def records(whole, everything):
    """By stage what it did in a `dvc repro`, and in a run of what is off by default; see tests/helpers/recorder."""
    result = {}
    for name, stage in PIPELINE.items():
        words = "-".join(stage["cmd"].split("stages.")[1].split())
        found = [
            json.loads(path.read_text()) for clone in (whole, everything) for path in clone.records.glob(f"{words}.*")
        ]
        assert found, name
        result[name] = {
            kind: set().union(*(record[kind] for record in found)) for kind in ("read", "written", "settings")
        }
        result[name]["imports"] = {
            module: {other for record in found for other in record["imports"].get(module, ())}
            for module in set().union(*(record["imports"] for record in found))
        }
    return result


def entry(stage: str, section: str) -> set[str]:
    items = PIPELINE[stage].get(section, [])
    return {next(iter(item)) if isinstance(item, dict) else item for item in items}


def covering(path: str, declared: set[str]) -> set[str]:
    """The entries that are a path, or a folder that holds it."""
    return {name for name in declared if path == name or path.startswith(f"{name}/")}


def code(record: dict, *, follow_settings: bool) -> set[str]:
    """The files of src that a stage reached by its imports; not those that only the settings import."""
    seen, waiting = set(), ["__main__"]
    while waiting:
        module = waiting.pop()
        if module in seen or module == "stages" or (module.startswith("src.settings") and not follow_settings):
            continue
        seen.add(module)
        if not module.startswith("src.settings"):
            waiting += record["imports"].get(module, ())
    files = {name.replace(".", "/") + ".py" for name in seen if name.startswith("src.")}
    return {name for name in files if Path(name).exists()}


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_hold_the_code_that_the_stage_reached_and_no_other(records, stage):
    declared = {name for name in entry(stage, "deps") if name.startswith("src/")}
    reached = code(records[stage], follow_settings=stage == "report")
    assert {name for name in reached if not covering(name, declared)} == set()
    assert {name for name in declared if not any(covering(path, {name}) for path in reached)} == set()
    assert f"stages/{PIPELINE[stage]['cmd'].split('stages.')[1].split()[0]}.py" in entry(stage, "deps")


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_and_outs_are_the_artefacts_that_the_stage_read_and_wrote(records, stage):
    made = entry(stage, "outs") | entry(stage, "metrics")
    needed = {name for name in entry(stage, "deps") if not name.startswith(("src/", "stages/"))}
    own = ("data/resume/", "data/downloads/")  # of the user's repository, which no stage declares
    read, written = (
        {path for path in records[stage][kind] if not any(part in path for part in own)} for kind in ("read", "written")
    )
    assert {path for path in read if not covering(path, needed | made)} == set()
    assert {name for name in needed if not any(covering(path, {name}) for path in read)} == set()
    assert {path for path in written if not covering(path, made)} == set()
    assert {name for name in made if not any(covering(path, {name}) for path in written)} == set()


@pytest.mark.parametrize("stage", PIPELINE)
def test_params_are_the_settings_that_the_stage_read(records, stage):
    declared, read = entry(stage, "params"), records[stage]["settings"]
    if any(_within(path, name) for name in TABLE for path in read):
        read = read | {"protocol"}  # whose value stands where params.yaml says null, which DVC does not see
    if stage != "report":  # which prints them all
        assert read - {name for name in read if _declared(name, declared)} == set()
    assert {name for name in declared if not any(_within(path, name) for path in read)} <= OF_OTHER_DATASETS


def _declared(name: str, declared: set[str]) -> bool:
    """Whether a setting that was read, `finetune.lr` or the whole section `finetune.*`, stands under params."""
    return name.removesuffix(".*") in declared or name.split(".")[0] in declared


def _within(read: str, declared: str) -> bool:
    whole = read.removesuffix("*")  # of a section that was read whole: `finetune.`, and `` of all settings
    return read == declared or read.startswith(f"{declared}.") or (whole != read and declared.startswith(whole))


def test_every_stage_that_the_project_promises_is_there():
    assert set(PIPELINE) == {
        *("inputs", "download", "weights", "prepare", "tune", "finetune_resnet", "embed_convnext"),
        *("eval_resnet", "eval_convnext", *CONTROLS, "backbones", "compare", "robustness", "report"),
    }


@pytest.mark.parametrize("setting", ["classes", "finetune.lr", "compare.margin"])
def test_what_a_sweep_over_classes_pays_once_does_not_read_the_settings_that_it_changes(setting):
    for stage in ("download", "weights"):
        assert setting not in entry(stage, "params")
        assert setting.split(".")[0] not in entry(stage, "params") - {"download"}


def test_everything_that_dvc_draws_is_an_output_of_a_stage():
    outs = {path for stage in PIPELINE for path in entry(stage, "outs")}
    drawn = set()
    for plot in yaml.safe_load(Path("dvc.yaml").read_text())["plots"]:
        for name, settings in plot.items():
            drawn |= set(settings["y"]) if isinstance(settings["y"], dict) else {name}
    assert len(drawn) == 22
    for path in drawn:
        assert covering(path, outs), path


def test_the_controls_are_the_stages_that_can_be_switched_off():
    off = {*CONTROLS, "robustness", "tune"}
    assert {stage for stage in PIPELINE if "controls" in entry(stage, "params")} == off | {"compare", "report"}
