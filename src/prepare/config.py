"""The section `prepare` of the settings."""

from typing import Literal

from pydantic import Field

from src.core.section import Section


class Prepare(Section):
    """`val_fraction` of train is held out for every choice; `per_class` caps the training images of each class.

    `imbalance` thins out the training images alone; of the smallest class there is one to `imbalance_ratio` of the
    largest.
    """

    val_fraction: float = Field(0.1, gt=0, le=0.5)
    per_class: int | None = Field(None, ge=2)
    imbalance: Literal["none", "long_tailed", "step"] = "none"
    imbalance_ratio: float = Field(10.0, ge=1, le=100_000)
