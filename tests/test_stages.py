"""dvc.yaml says exactly what the code does."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import derive

PIPELINE = {
    name: stage
    for path in ("data/dvc.yaml", "dvc.yaml")
    for name, stage in yaml.safe_load(Path(path).read_text())["stages"].items()
}


CONTROLS = ("embed_resnet", "finetune_convnext", "eval_resnet_frozen", "eval_convnext_finetuned")


def entry(stage: str, section: str) -> set[str]:
    items = PIPELINE[stage].get(section, [])
    return {next(iter(item)) if isinstance(item, dict) else item for item in items}


def source(stage: str) -> Path:
    return Path(f"stages/{stage}.py")


def test_every_stage_of_the_issue_is_there():
    assert set(PIPELINE) == {
        *("inputs", "download", "weights", "prepare", "tune", "finetune_resnet", "embed_convnext"),
        *("eval_resnet", "eval_convnext", *CONTROLS, "compare", "robustness", "report"),
    }


@pytest.mark.parametrize("stage", PIPELINE)
def test_stage_runs_the_module_of_its_name(stage):
    assert PIPELINE[stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_are_the_modules_and_artefacts_that_the_stage_reaches(stage):
    read, _ = derive.artefacts(source(stage))
    assert entry(stage, "deps") == derive.modules(source(stage)) | read


@pytest.mark.parametrize("stage", PIPELINE)
def test_params_are_the_settings_that_the_stage_reads(stage):
    assert entry(stage, "params") == derive.settings(source(stage))


@pytest.mark.parametrize("stage", PIPELINE)
def test_outs_and_metrics_are_the_artefacts_that_the_stage_writes(stage):
    _, written = derive.artefacts(source(stage))
    assert entry(stage, "outs") | entry(stage, "metrics") == written
    assert all(path.startswith("metrics/") == (path in entry(stage, "metrics")) for path in written)


def test_a_stage_that_names_an_artefact_without_reading_or_writing_it_is_found(tmp_path):
    module = tmp_path / "stage.py"
    module.write_text("from src import files\nlen(files.RAW)\n")
    with pytest.raises(AssertionError, match="neither read nor written"):
        derive.artefacts(module)


def test_an_import_inside_a_function_counts_and_one_for_types_alone_does_not(tmp_path):
    module = tmp_path / "stage.py"
    module.write_text(
        "if TYPE_CHECKING:\n    from src import plots\ndef main():\n    from src.metrics import accuracy\n"
    )
    assert derive.modules(module) == {str(module), "src/metrics.py"}


@pytest.mark.parametrize("setting", ["classes", "finetune.lr", "compare.resamples"])
def test_what_a_sweep_over_classes_pays_once_does_not_read_the_settings_that_it_changes(setting):
    for stage in ("download", "weights", "embed_convnext", "embed_resnet"):
        assert setting not in entry(stage, "params")
        assert setting.split(".")[0] not in entry(stage, "params") - {"download"}


def test_everything_that_dvc_draws_is_an_output_of_a_stage():
    outs = {path for stage in PIPELINE for path in entry(stage, "outs")}
    drawn = set()
    for plot in yaml.safe_load(Path("dvc.yaml").read_text())["plots"]:
        for name, settings in plot.items():
            drawn |= set(settings["y"]) if isinstance(settings["y"], dict) else {name}
    assert len(drawn) == 18
    for path in drawn:
        assert any(path == out or path.startswith(out + "/") for out in outs), path


def test_the_controls_are_the_stages_that_can_be_switched_off():
    off = {*CONTROLS, "robustness", "tune"}
    assert {stage for stage in PIPELINE if "controls" in entry(stage, "params")} == off | {"compare", "report"}


@pytest.mark.parametrize("stage", PIPELINE)
def test_torch_is_imported_where_something_is_computed_with_it_alone(stage):
    """It takes seconds to import; a control that is switched off, and what only looks at logits, need none of it."""
    code = f"import sys, stages.{stage}; sys.exit('torch' in sys.modules)"
    needs = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert needs == (stage in {"weights", "finetune_resnet", "embed_convnext", "eval_resnet"})
