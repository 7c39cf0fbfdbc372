"""The section `tune` of the settings."""

from pydantic import Field

from src.core.section import Section


class Tune(Section):
    """The search of every cell's settings on validation images, with the same number of configurations for each."""

    configurations: int = Field(
        5, ge=1, le=45, description="learning rates of fine-tuning, and strengths of the linear probe; 1: no search"
    )
