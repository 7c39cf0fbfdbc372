"""What DVC draws is there whatever the settings say, and its page needs no network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc_render import VegaRenderer, render_html

from stages import pipeline

TEMPLATE = Path(".dvc/plots/page.html")
# By stage what it draws where its settings ask for nothing.
OFF = {
    "finetune_convnext": {
        f"plots/finetune_convnext/plots/metrics/{part}/{kind}.tsv": f"step\t{kind}\n"
        for part in ("train", "val")
        for kind in ("accuracy", "loss")
    },
    "eval_convnext_finetuned": {
        "plots/convnext_finetuned/confusion.csv": "predicted,actual\n",
        "plots/convnext_finetuned/per_class.csv": "accuracy,class\n",
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copy("dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("stage", OFF)
def test_a_stage_leaves_every_table_that_dvc_draws_of_it(stage):
    pipeline.complete_plots(stage)
    assert {str(path): path.read_text() for path in Path("plots").rglob("*") if path.is_file()} == OFF[stage]


@pytest.mark.usefixtures("folder")
def test_a_table_that_is_there_stays():
    path = Path("plots/compare/arms.csv")
    path.parent.mkdir(parents=True)
    path.write_text("arm,accuracy\none,0.5\n")
    pipeline.complete_plots("compare")
    assert path.read_text() == "arm,accuracy\none,0.5\n"
    assert Path("plots/compare/budget_resnet.csv").read_text() == "configurations,expected_best\n"


@pytest.mark.parametrize(
    ("words", "stage"),
    [(["finetune", "resnet"], "finetune_resnet"), (["evaluate", "convnext", "frozen"], "eval_convnext"), (["x"], None)],
)
def test_a_process_knows_its_stage_by_its_command(words, stage, monkeypatch):
    module, *rest = words
    monkeypatch.setattr(sys, "argv", [f"stages/{module}.py", *rest])
    assert pipeline.this_stage() == stage


def test_plots_are_named_by_subject_and_arm_and_the_accuracies_come_first():
    names = [name for plot in yaml.safe_load(Path("dvc.yaml").read_text())["plots"] for name in plot]
    assert names[0] == "Accuracy of every arm"
    assert len(names) == len(set(names)) == 15
    assert not any("/" in name or "_" in name for name in names)


def test_the_page_of_plots_carries_the_scripts_that_dvc_would_load():
    ask = [sys.executable, "-m", "dvc", "config", "plots.html_template"]
    config = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert Path(".dvc", config.stdout.strip()) == TEMPLATE
    page = TEMPLATE.read_text(encoding="utf-8")
    assert "{plot_divs}" in page
    assert "<script src" not in page
    assert page.count("<script>") == 5
    wanted = [line.split("npm/")[1].split('"')[0] for line in VegaRenderer.SCRIPTS.splitlines() if "npm/" in line]
    for script in wanted:  # another version of DVC may draw what these cannot
        assert script.replace("@", " ") in page, f"DVC loads {script}"


def test_the_page_of_plots_is_drawn_without_a_network_and_without_gaps(browser, tmp_path):
    name = "efficientnet_lite0 (resnet), frozen, random head"
    rows = [{"arm": arm, "accuracy": 0.5, "rev": "HEAD"} for arm in (name, "two")]
    look = {"template": "bar_horizontal", "x": "accuracy", "y": "arm", "revs_with_datapoints": ["HEAD"]}
    plots = [VegaRenderer(rows, "Accuracy of every arm", **look), VegaRenderer([], "Nothing to draw", **look)]
    render_html(plots, tmp_path / "index.html", html_template=TEMPLATE.resolve())
    context = browser.new_context(offline=True)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector("#Accuracy_of_every_arm svg.marks")
    assert name in page.locator("#Accuracy_of_every_arm svg.marks").text_content()
    assert page.locator("body > div").count() == 1
    assert "No plot has its data here" not in page.inner_text("body")
    assert faults == []
    context.close()


def test_a_page_without_data_says_what_brings_it(browser, tmp_path):
    nothing = VegaRenderer([], "Nothing to draw", template="bar_horizontal", x="accuracy", y="arm")
    render_html([nothing], tmp_path / "index.html", html_template=TEMPLATE.resolve())
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.inner_text("body").strip().startswith("No plot has its data here: make show brings that of the commit")
    page.close()
