"""The section `tune` of the settings."""

from pydantic import Field

from src.core.section import Section


class Tune(Section):
    """Search for the learning rate and weight decay of each backbone, on validation images."""

    enabled: bool = Field(False, description="search, and fine-tune all methods with what the first one's search found")
    trials: int = Field(20, ge=2, le=10_000, description="trials of each backbone; the first has finetune's own values")
    images: int | None = Field(
        None, ge=1, description="at most this many images are trained on over all trials of a backbone; null: no limit"
    )
    factor: float = Field(
        30.0,
        gt=1,
        le=10_000,
        description="the search reaches from finetune's values / factor to finetune's values x factor",
    )
