"""What `python -m src.settings` prints: every setting, with all that a person needs to set it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.settings import describe
from src.settings.protocols import TABLE
from src.settings.settings import Settings, flat

ROWS = {row.name: row for row in describe.rows()}
WRITTEN = "what is written there is not what the code says: see docs/extending.md, A setting"


def comments(text: str) -> dict[str, str]:
    """The comment behind every section and setting of params.yaml, by its dotted name, in their order."""
    result, section = {}, ""
    for indent, name, value, comment in re.findall(r"^( *)(\w+):(.*?)(?:# (.*))?$", text, re.M):
        if not indent:
            section = "" if value.strip() else f"{name}."
        result[(section if indent else "") + name] = comment
    return result


def test_every_setting_has_a_row():
    assert set(ROWS) - {"resume"} == set(flat(Settings().model_dump()))


def test_the_comments_of_params_yaml_are_the_descriptions():
    described = {}
    for section, about, settings in describe.sections():
        described |= {section: about} if section else {}
        described |= {row.name: row.meaning for row in settings}
    written = comments(Path("params.yaml").read_text())
    assert list(written.items()) == list(described.items()), WRITTEN


def test_every_choice_of_a_setting_is_in_its_description_or_its_default_or_a_protocol():
    for row in ROWS.values():
        told = f"{row.meaning} {row.default} {TABLE.get(row.name)} true false"
        for choice in re.findall(r"\w+(?= \| )|(?<= \| )\w+", row.kind):
            assert choice in told, f"{row.name}: {choice}"


def test_the_page_of_the_settings_is_what_the_command_prints():
    printed = subprocess.run([sys.executable, "-m", "src.settings", "--markdown"], capture_output=True, check=True)
    assert printed.stdout.decode() == Path("docs/settings.md").read_text(), WRITTEN


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("classes", "int >= 2, or list of text, not empty", "10"),
        ("device", "auto | cpu | cuda | mps", "auto"),
        ("controls", "true | false, or null", "null"),
        ("seeds", "list of int >= 0, < 2147483648, not empty", "[0, 1, 2]"),
        ("prepare.per_class", "int >= 2, or all, or null", "null"),
        ("finetune.lr", "float > 0, <= 100, or null", "null"),
        ("finetune.methods", "list of full | head | lp_ft, not empty", "[full]"),
        ("finetune.mix", "none | mixup | cutmix", "none"),
        ("finetune.ema", "float > 0, < 1, or null", "null"),
        ("robustness.severities", "list of int >= 1, <= 5, not empty", "[1, 2, 3, 4, 5]"),
    ],
)
def test_types_ranges_and_defaults_are_those_of_the_models(name, kind, default):
    assert ROWS[name][1:3] == (kind, default)


def test_all_settings_are_printed_for_a_terminal():
    printed = subprocess.run([sys.executable, "-m", "src.settings"], capture_output=True, text=True, check=True).stdout
    assert "finetune.epochs = 5\n    int >= 1, <= 10000\n    passes over the training images\n" in printed
    assert len(printed.splitlines()) > 2 * len(ROWS)


def test_who_reads_the_first_lines_alone_sees_no_error():
    command = f"{sys.executable} -m src.settings | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("protocol = fair\n", "")
