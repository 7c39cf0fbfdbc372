"""The tables of docs/reliability.md: each promise names tests, and they are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path("tests")
TABLES = re.findall(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", Path("docs/reliability.md").read_text(encoding="utf-8"), re.M)
ROWS = [row for table in TABLES for row in table.splitlines()]


@cache
def functions(path: Path) -> list[str]:
    """The tests of a file; of a decorated one too, and of hypothesis."""
    return [
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def named(row: str) -> list[tuple[str, str]]:
    """The files and tests that a row names."""
    return re.findall(r"`([\w/]+)::(test_\w+)(?:\.\.\.)?`", row)


def test_the_tables_are_found():
    assert len(TABLES) == 5
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_each_promise_names_a_test_that_is_there_and_no_file_without_one(row):
    assert named(row), row
    assert re.findall(r"`(?:[a-z_]+/)*test_\w+`", row) == []
    for file, name in named(row):
        found = [test for test in functions(TESTS / f"{file}.py") if test.startswith(name)]
        assert len(found) == 1, f"{file}::{name} stands for {found}"
        assert found == [name] or f"`{file}::{name}...`" in row, f"{file}::{name} is no whole name"
