"""The section `compare` of the settings."""

from pydantic import Field

from src.core.section import Section


class Compare(Section):
    """How the arms are compared."""

    base_classes: int = Field(
        2, ge=2, description="number of first classes on which the report's bar chart tests every arm"
    )
    resamples: int = Field(10_000, ge=100, le=1_000_000, description="resamples of the bootstrap")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence level of all intervals")
