"""The section `prepare` of the settings."""

from typing import Annotated, Literal

from pydantic import Field

from src.core.section import Section


class Prepare(Section):
    """Which training images are used, and which of them are held out for validation."""

    val_fraction: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="share of each class's training images, held out to choose by; 0: none",
    )
    per_class: Annotated[int, Field(ge=2)] | Literal["all"] = Field(
        500, description="at most this many training images of each class, before the split; or all"
    )
    shots: int | None = Field(
        None,
        ge=1,
        description="training images of each class, for every arm, and at most as many to validate; null: all",
    )
    without_duplicates: bool = Field(
        False, description="leave out training images that are test images too, see data/raw/duplicates.json"
    )
    imbalance: Literal["none", "long_tailed", "step"] = Field(
        "none", description="none, long_tailed (class sizes fall exponentially) or step (half of the classes are small)"
    )
    imbalance_ratio: float = Field(
        10.0, ge=1, le=100_000, description="training images of the largest class for each one of the smallest"
    )
