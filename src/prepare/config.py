"""The section `prepare` of the settings."""

from typing import Literal

from pydantic import Field

from src.core.section import Section


class Prepare(Section):
    """Which training images are used, and which of them are held out for validation."""

    val_fraction: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="share of each class's training images, held out to choose the epoch and the read-outs' settings",
    )
    per_class: int | None = Field(
        None, ge=2, description="at most this many training images of each class, before the split; null: all"
    )
    imbalance: Literal["none", "long_tailed", "step"] = Field(
        "none", description="none, long_tailed (class sizes fall exponentially) or step (half of the classes are small)"
    )
    imbalance_ratio: float = Field(
        10.0, ge=1, le=100_000, description="training images of the largest class for each one of the smallest"
    )
