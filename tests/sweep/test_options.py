"""The options of a sweep's command line."""

import pytest

from src.core.errors import UserError
from src.sweep.__main__ import parse


@pytest.mark.parametrize("words", [["--engine", "slurm"], ["--engine", "ray", "--address", "10.0.0.1:6379"]])
def test_the_cpus_of_other_machines_have_to_be_told(words):
    with pytest.raises(UserError, match="--cpus is not given"):
        parse(words)
    assert parse([*words, "--cpus", "4"]).cpus == 4


def test_a_cluster_may_be_named_by_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(UserError, match="--cpus is not given"):
        parse(["--engine", "ray"])


@pytest.mark.parametrize("engine", ["queue", "ray", "local"])
def test_those_of_this_machine_need_not(engine):
    assert parse(["--engine", engine]).cpus is None
