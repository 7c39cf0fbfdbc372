"""The section `prepare` of the settings."""

from typing import Literal

from pydantic import Field

from src.core.section import Section


class Prepare(Section):
    """The share of train for validation, the most images of a class, and the imbalance of the training images.

    `imbalance_ratio`: the number of training images of the largest class, divided by that of the smallest.
    """

    val_fraction: float = Field(0.1, gt=0, le=0.5)
    per_class: int | None = Field(None, ge=2)
    imbalance: Literal["none", "long_tailed", "step"] = "none"
    imbalance_ratio: float = Field(10.0, ge=1, le=100_000)
