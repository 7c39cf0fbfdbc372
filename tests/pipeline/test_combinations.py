"""Whatever legal settings meet: the whole pipeline ends well, and a setting that must change a result changes it.

COMBINATIONS=1000 python -m pytest tests/pipeline/test_combinations.py tries more.
"""

import os
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings

from src.core.errors import UserError
from tests.helpers import combinations
from tests.helpers.combinations import fields

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("COMBINATIONS", 200))
TRIED: Counter[str] = Counter()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return combinations.toy_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder in which the stages can run; we are there."""
    combinations.start_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    with combinations.toy_data():
        yield tmp_path


def test_every_setting_is_drawn():
    assert set(combinations.TINY) <= set(fields())
    assert set(combinations.BASE) <= set(fields())


# Without shrinking, which would run the pipeline for minutes.
@settings(max_examples=COUNT, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(drawn=combinations.combinations())
def check(images: Path, drawn: dict) -> None:
    TRIED["drawn"] += 1
    shutil.rmtree("data", ignore_errors=True)
    try:
        chosen = combinations.legal(drawn, images)
    except UserError as error:
        TRIED["refused as settings"] += 1
        one_line(error)
        reject()
    drawing = nullcontext() if TRIED["run"] % 20 == 0 else combinations.undrawn()
    with drawing:
        refusing = combinations.run(chosen, "report" if TRIED["run"] % 20 == 0 else "robustness")
    if refusing:
        TRIED[f"refused by {refusing}"] += 1
        reject()
    TRIED["run"] += 1


def one_line(error: UserError) -> None:
    assert len(str(error).splitlines()) == 1


def test_any_legal_combination_runs_to_its_end(images):
    check(images)
    print(dict(TRIED))
    assert TRIED["run"] >= COUNT
