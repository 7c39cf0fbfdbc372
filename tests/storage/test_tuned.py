"""The best settings of `tune` reach `finetune_*` unchanged."""

import pytest
import yaml

from src.core.errors import UserError
from src.storage import files

BEST = {"resnet": {"lr": 1e-05, "weight_decay": 3.0000000000000004e-07}, "convnext": {"lr": 0.1 + 0.2}}


def test_numbers_are_read_as_they_were_written_and_by_other_readers_of_yaml_too(tmp_path):
    path = tmp_path / "best_params.yaml"
    files.write_best(path, BEST)
    assert {role: files.read_best(path, role) for role in BEST} == BEST
    assert yaml.safe_load(path.read_text()) == BEST


def test_where_nothing_was_tuned_nothing_changes(tmp_path):
    path = tmp_path / "best_params.yaml"
    files.write_empty(path)
    assert files.read_best(path, "resnet") == {}


@pytest.mark.parametrize("content", ["resnet: {lr: fast}", "[", "5", ""])
def test_what_is_not_tunes_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "best_params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"best_params.yaml is damaged \("):
        files.read_best(path, "resnet")
