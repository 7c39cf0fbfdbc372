"""The base class of records: what a stage leaves in `data/results/<name>.json` for other stages and programs.

A record is typed and holds everything: tables, texts, the machine. The file `metrics/<name>.json` holds its numbers
alone, those that people compare by `dvc metrics`.
"""

from dataclasses import asdict, dataclass
from typing import Any

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


@dataclass(frozen=True)
class Pair:
    """Two arms: accuracy of `first` less `second`, images that one alone got right, McNemar's p, and Holm's."""

    first: str
    second: str
    difference: Interval
    p: float
    p_holm: float
    only_first: int
    only_second: int


class Record(BaseModel):
    """Closed, immutable, and never coerced from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def numbers(self) -> dict[str, Any]:
        """Its numbers as DVC's metrics hold them: fields that are numbers, intervals, records or records by name.

        Texts, lists and the environment are left out, as DVC makes a column of whatever it finds outside of lists.
        """
        numbers = {name: _numbers(value) for name, value in self if name != "environment"}
        return {name: value for name, value in numbers.items() if value not in (None, {})}


def _numbers(value: Any) -> Any:
    """A number as it is; what holds numbers as a dict of them; of anything else None."""
    if isinstance(value, Record):
        return value.numbers()
    if isinstance(value, Interval):
        return asdict(value)
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items() if isinstance(item, Record | Interval)}
    return value if isinstance(value, int | float) else None
