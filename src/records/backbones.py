"""What the further backbones leave in `data/results/backbones.json`."""

from typing import Any

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

    def numbers(self) -> dict[str, Any]:
        """Those of its arms, by adaptation."""
        arms = self.frozen.arms | self.finetuned.arms
        return {adaptation: evaluation.numbers() for adaptation, evaluation in arms.items()}


class FurtherBackbones(Record):
    """Every further backbone by its short name; none where the list adds none to the two roles."""

    backbones: dict[str, FurtherBackbone] = Field({})

    def numbers(self) -> dict[str, Any]:
        """As the metrics of the roles, by backbone and adaptation."""
        return {name: each.numbers() for name, each in self.backbones.items()}
