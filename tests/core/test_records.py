"""Records are read as they were written, refuse what is none, and give their numbers alone to DVC."""

import pytest

from src.core.errors import UserError
from src.core.records import Interval, Record
from src.records.tune import SearchSummaries
from src.storage import files


class Part(Record):
    share: float
    title: str


class Whole(Record):
    count: int
    gap: Interval
    part: Part
    by_name: dict[str, Part]
    rows: list[Part]
    cells: dict[str, str]
    environment: dict[str, str | int]
    missing: float | None = None


PART = Part(share=0.5, title="half")
WHOLE = Whole(
    count=2,
    gap=Interval(0.1, -0.1, 0.3),
    part=PART,
    by_name={"a": PART},
    rows=[PART],
    cells={"resnet.frozen": "resnet.linear"},
    environment={"torch": "2", "threads": 2},
)


def test_numbers_are_all_that_dvc_makes_columns_of():
    gap = {"value": 0.1, "low": -0.1, "high": 0.3}
    assert WHOLE.numbers() == {"count": 2, "gap": gap, "part": {"share": 0.5}, "by_name": {"a": {"share": 0.5}}}


def test_a_record_is_read_as_it_was_written(tmp_path):
    files.write_record(tmp_path / "whole.json", WHOLE)
    assert files.read_record(tmp_path / "whole.json", Whole) == WHOLE
    assert files.read_optional_record(tmp_path / "whole.json", Whole) == WHOLE
    assert "missing" not in files.read_json(tmp_path / "whole.json")


@pytest.mark.parametrize("text", ["{}", '{"share": "0.5", "title": "half"}', '{"share": 0.5, "title": "half", "x": 1}'])
def test_what_is_no_such_record_is_refused_in_one_line(text, tmp_path):
    path = tmp_path / "part.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"part\.json is damaged \(.*\); `dvc repro` makes it again") as error:
        files.read_record(path, Part)
    assert "\n" not in str(error.value)


def test_a_stage_that_is_off_leaves_no_record(tmp_path):
    files.write_empty(tmp_path / "tune.json")
    assert files.read_optional_record(tmp_path / "tune.json", Part) is None
    assert files.read_record(tmp_path / "tune.json", SearchSummaries) == SearchSummaries()


def test_an_interval_covers_zero_up_to_its_ends():
    assert [Interval(0, *bounds).covers_zero for bounds in ((-1, 1), (0, 1), (-1, 0), (0.1, 1))] == [True] * 3 + [False]
