"""`make table`: what differs comes first, what is the same is said once, and it fits into 80 columns."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from src.core.errors import UserError
from src.experiments import table
from src.experiments.table import Row
from src.settings.settings import Settings, flat

SETTINGS = flat(Settings(dataset="digits").model_dump())


def row(name: str, state: str = "", reached: float = 0.5, **changes: object) -> Row:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    if state:
        return Row(name, settings, {}, state)
    numbers = {"accuracy": reached, "val_accuracy": reached + 0.25}
    metrics = {
        "metrics/resnet.json": {"resnet": {"full": numbers}},
        "metrics/resnet_frozen.json": {"resnet": {"linear": numbers}},
        "metrics/convnext.json": {"convnext": {"linear": numbers}},
        "metrics/convnext_finetuned.json": {"convnext": {"full": numbers}},
        "metrics/compare.json": {"compare": {"primary": {"value": 0.012, "low": -0.1375, "high": 0.162}}},
    }
    return Row(name, settings, metrics)


SWEEP = [
    row("k10-seeds0-1-2-c03c559c", classes=10),
    row("k02-seeds0-1-2-1f2e3d4c", classes=2, reached=0.25),
    row("slow-tuna", classes=2, finetune__lr=0.001),
    row("HEAD"),
    row("later", "queued", classes=3),
]


def test_what_differs_comes_first_in_order_and_names_last():
    _, rest = table.render(SWEEP, "val", 80).split("\n\n")[:2]
    assert rest.splitlines() == [
        "         finetune.  resnet.  resnet.  convnext.  convnext.",
        "classes         lr     full   linear       full     linear  experiment",
        "      2      0.001    0.750    0.750      0.750      0.750  slow-tuna",
        "      2       null    0.500    0.500      0.500      0.500  k02-seeds0-1-2-1f2e3d4c",
        "      3       null        -        -          -          -  later (queued)",
        "     10       null    0.750    0.750      0.750      0.750  k10-seeds0-1-2-c03c559c",
        "     10       null    0.750    0.750      0.750      0.750  HEAD",
    ]


@pytest.mark.parametrize("on", table.ON)
def test_a_sweep_of_classes_fits_into_80_columns(on):
    classes = [row(f"k{count:02d}-c03c", classes=count) for count in (2, 3, 10)]
    assert max(map(len, table.render(classes, on, 80).splitlines())) <= 80


def test_what_is_the_same_is_said_once_and_defaults_are_not():
    above = table.render(SWEEP, "val", 1000).split("\n\n")[0]
    assert above == (
        "accuracy on validation images; the same in all: protocol=fair, dataset=digits, seeds=[0, 1, 2], "
        "resnet.arch=resnet18, convnext.arch=convnext_tiny"
    )


def test_the_same_settings_twice_are_said_so():
    assert table.render(SWEEP, "val", 80).endswith("\n\nthe same settings: k10-seeds0-1-2-c03c559c, HEAD")
    assert "the same settings" not in table.render(SWEEP[1:], "val", 80)


def test_experiments_that_read_other_images_under_the_same_settings_are_named():
    images = {"old": "1a", "new": "2b", "newer": "2b", "cifar": "3c"}
    changes = {"newer": {"finetune__lr": 0.001}, "cifar": {"dataset": "cifar10"}}
    rows = [replace(row(name, **changes.get(name, {})), images=images[name]) for name in images]
    line = "not the same images, though the settings are: old; new, newer"
    assert line in table.render(rows, "val", 80).splitlines()
    assert "not the same images" not in table.render([rows[1], rows[2], rows[3], row("queued")], "val", 80)


def test_of_test_images_the_question_is_shown_too():
    text = table.render([row("one", reached=0.25)], "test", 80)
    assert "accuracy on test images" in text
    assert text.splitlines()[-1].endswith(" 0.250      0.250  +1.2 [-13.8, +16.2]  one")


def test_an_experiment_that_still_runs_has_no_numbers():
    """DVC gives it those of the commit that it began with."""
    metrics = {"metrics/resnet.json": {"data": {"resnet": {"full": {"val_accuracy": 0.5}}}}}
    outs = {"project/data/subset": SimpleNamespace(hash="no"), "project/data/raw": SimpleNamespace(hash="1a")}
    data = SimpleNamespace(params={"params.yaml": {"data": {"classes": 5}}}, metrics=metrics, outs=outs)
    done = table._row("one", data)
    assert (done.cells("val_accuracy"), done.images) == ({"resnet.full": 0.5}, "1a")
    running = table._row("one", data, "running")
    assert (running.cells("val_accuracy"), running.titled, running.images) == ({}, "one (running)", None)


def test_before_there_is_a_result_one_line_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(table, "read", lambda: [Row("HEAD", SETTINGS, {})])
    with pytest.raises(UserError, match=r"no result yet, .*`dvc repro` makes the first"):
        table.main([])


def test_other_images_are_refused_in_one_line():
    with pytest.raises(UserError, match="--on train: allowed are val, test"):
        table.main(["--on", "train"])
