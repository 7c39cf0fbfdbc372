"""The section `tune` of the settings."""

from pydantic import Field

from src.core.section import Section


class Tune(Section):
    """How `finetune`'s lr and weight_decay are searched, by its first method and epochs; what is found serves them all.

    `images`: a trial after which more might have been trained on is not begun; null for all that the trials need.
    """

    enabled: bool = False
    trials: int = Field(20, ge=2, le=10_000)
    images: int | None = Field(None, ge=1)
    factor: float = Field(30.0, gt=1, le=10_000)
