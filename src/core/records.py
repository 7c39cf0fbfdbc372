"""The base class of records: what a stage leaves in `data/results/<name>.json` for other stages and programs.

A record is typed and holds everything: tables, texts, the machine. The file `metrics/<name>.json` holds its numbers
alone, those that people compare by `dvc metrics`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

Environment = dict[str, str | int]  # a machine and its versions by name, see `runtime.environment`


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def covers_zero(self) -> bool:
        return self.low <= 0 <= self.high


class Record(BaseModel):
    """Closed, immutable, and never coerced from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def numbers(self) -> dict[str, Any]:
        """Its numbers as DVC's metrics hold them: fields that are numbers, intervals, records or records by name.

        Texts, lists and the environment are left out, as DVC makes a column of whatever it finds outside of lists.
        """
        numbers = {name: _numbers(value) for name, value in self if name != "environment"}
        return {name: value for name, value in numbers.items() if value not in (None, {})}


RecordType = TypeVar("RecordType", bound=Record)


def mean(records: Sequence[RecordType]) -> RecordType:
    """One record for several of a kind: numbers averaged, counts in tables added, and of texts that differ the first.

    Whole numbers that agree stay; others become the nearest whole number to their mean.
    """
    first, *others = records
    if not others:
        return first
    return type(first)(**{name: _mean([getattr(record, name) for record in records]) for name, _ in first})


def _mean(values: Sequence[Any]) -> Any:
    first, *others = values
    if isinstance(first, Record):
        return mean([value for value in values if value is not None])
    if isinstance(first, list) and all(isinstance(value, list) and len(value) == len(first) for value in others):
        if first and isinstance(first[0], list):  # a table of counts
            return [[sum(counts) for counts in zip(*rows, strict=True)] for rows in zip(*values, strict=True)]
        return [_mean(items) for items in zip(*values, strict=True)]
    if isinstance(first, dict) and all(isinstance(value, dict) and value.keys() == first.keys() for value in others):
        return {name: _mean([value[name] for value in values]) for name in first}
    if isinstance(first, bool) or not isinstance(first, int | float) or any(value is None for value in others):
        return first
    average = sum(values) / len(values)
    return round(average) if isinstance(first, int) else average


def _numbers(value: Any) -> Any:
    """A number as it is; what holds numbers as a dict of them; of anything else None."""
    if isinstance(value, Record):
        return value.numbers()
    if isinstance(value, Interval):
        return asdict(value)
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items() if isinstance(item, Record | Interval)}
    return value if isinstance(value, int | float) else None
