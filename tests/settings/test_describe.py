"""What `python -m src.settings` prints: every setting, with all that a person needs to set it."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.settings import describe
from src.settings.settings import Settings, flat

PARAMS = Path("params.yaml").read_text()
ROWS = {name: (kind, default, meaning) for name, kind, default, meaning in describe.rows(PARAMS)}


def test_every_setting_has_a_row_and_every_row_a_meaning():
    assert set(ROWS) - {"resume"} == set(flat(Settings().model_dump()))
    assert [name for name, row in ROWS.items() if not row[2]] == []


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("classes", "int >= 2, or list of text of at least 1", "10"),
        ("device", "auto | cpu | cuda | mps", "auto"),
        ("controls", "true | false", "true"),
        ("finetune.lr", "float > 0, <= 100", "0.001"),
        ("finetune.methods", "list of text of at least 1", "[full]"),
        ("finetune.mix", "none | mixup | cutmix", "none"),
        ("finetune.ema", "float > 0, < 1, or null", "null"),
        ("robustness.severities", "list of int >= 1, <= 5 of at least 1", "[1, 2, 3, 4, 5]"),
    ],
)
def test_types_ranges_and_defaults_are_those_of_the_models(name, kind, default):
    assert ROWS[name][:2] == (kind, default)


def test_meanings_are_the_comments_of_params_yaml():
    text = "seed: 0 # of all\nfinetune: # of both\n  lr: 0.1 # the rate\n  epochs: 5\n"
    assert describe.meanings(text) == {
        "seed": "of all",
        "finetune": "of both",
        "finetune.lr": "the rate",
        "finetune.epochs": "",
    }


def test_it_is_printed_by_the_module_that_reads_the_settings():
    printed = subprocess.run([sys.executable, "-m", "src.settings"], capture_output=True, text=True, check=True).stdout
    assert "finetune.lr = 0.001\n    float > 0, <= 100\n    the rate of learning\n" in printed
    assert len(printed.splitlines()) > 2 * len(ROWS)


def test_who_reads_the_first_lines_alone_sees_no_error():
    command = f"{sys.executable} -m src.settings | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("dataset = cifar10\n", "")
