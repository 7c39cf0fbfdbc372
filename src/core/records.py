"""The base class of records: what a stage leaves in `data/results/<name>.json` for other stages and programs.

A record is typed and holds everything: tables, texts, costs, the machine. The file `metrics/<name>.json` holds the few
numbers that people compare by `dvc metrics`, since DVC makes a column of each; those of a record are its `numbers()`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

Environment = dict[str, str | int]  # a machine and its versions by name, see `runtime.environment`


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


class Record(BaseModel):
    """Closed, immutable, and never coerced from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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
