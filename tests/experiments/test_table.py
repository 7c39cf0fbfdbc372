"""Which columns `make table` keeps, as DVC matches them: from the beginning of a name."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = {"classes", "seeds", "image_size", "prepare.shots", "finetune.lr", "resnet.weights", "protocol"}
VALIDATION = {"resnet.full.val_accuracy", "convnext.linear.val_accuracy"}
TEST = {"resnet.full.accuracy", "convnext.zero_shot.mapped.accuracy", "primary.value", "compare.primary.value"}
OTHERS = {"finetune.lr_decay", "finetune_resnet.full.val_accuracy", "resnet.full.macro_f1", "tune.configurations"}


@pytest.mark.parametrize(("given", "shown"), [([], VALIDATION), (["ON=test"], TEST)])
def test_validation_accuracies_are_shown_by_default_and_test_ones_where_they_are_asked_for(given, shown):
    command = ["make", "-n", "-o", ".venv/ready", "table", *given]
    line = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pattern = re.search(r"--keep '(.*)'", line).group(1)
    names = SETTINGS | VALIDATION | TEST | OTHERS
    kept = {name for name in names if re.match(pattern, name)}
    assert kept == SETTINGS | shown


def test_other_images_are_refused_in_one_line():
    result = subprocess.run(
        ["make", "-n", "-o", ".venv/ready", "table", "ON=train"], cwd=ROOT, capture_output=True, text=True
    )
    assert "ON=train: allowed are val, test" in result.stderr
    assert result.returncode == 2
