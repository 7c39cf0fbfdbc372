"""What the further backbones leave in `data/results/backbones.json`."""

from pydantic import Field

from src.core.records import Record
from src.records.evaluate import Evaluations
from src.records.tune import SearchSummary


class FurtherBackbone(Record):
    """One backbone by the `name` that the list gives it: its search, if there was one, and both columns."""

    name: str
    search: SearchSummary | None = None
    frozen: Evaluations
    finetuned: Evaluations

    def numbers(self) -> dict[str, dict[str, float]]:
        """Those of its two cells, by adaptation."""
        return self.frozen.numbers() | self.finetuned.numbers()


class FurtherBackbones(Record):
    """Every further backbone by its short name; none where the list adds none to the two roles."""

    backbones: dict[str, FurtherBackbone] = Field({})

    def numbers(self) -> dict[str, dict[str, dict[str, float]]]:
        """As the metrics of the roles, by backbone and adaptation."""
        return {name: each.numbers() for name, each in self.backbones.items()}
