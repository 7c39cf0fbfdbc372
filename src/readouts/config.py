"""The section `frozen` of the settings."""

from typing import Annotated

from pydantic import AfterValidator, Field

from src.core.design import READOUTS
from src.core.section import Section, once, one_of

Readout = Annotated[str, one_of(READOUTS)]


class Frozen(Section):
    """What reads classes off a backbone that is never trained. The first stands for freezing in the 2 x 2 table.

    `shots`: so many training images of each class, and at most as many validation images; null for all.
    """

    readouts: Annotated[list[Readout], AfterValidator(once)] = Field(list(READOUTS), min_length=1)
    shots: int | None = Field(None, ge=1)
