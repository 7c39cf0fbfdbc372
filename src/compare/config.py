"""The section `compare` of the settings."""

from pydantic import Field

from src.core.section import Section


class Compare(Section):
    """`base_classes`: the report's bar chart tests every arm on the first so many classes only."""

    base_classes: int = Field(2, ge=2)
    resamples: int = Field(10_000, ge=100, le=1_000_000)
    confidence: float = Field(0.95, gt=0.5, lt=1)
