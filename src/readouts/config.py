"""The section `frozen` of the settings."""

from typing import Annotated

from pydantic import AfterValidator, Field

from src.core.design import READOUTS
from src.core.section import Section, once, one_of

Readout = Annotated[str, one_of(READOUTS)]


class Frozen(Section):
    """The read-outs of a frozen backbone. The first one represents the frozen cells of the 2 x 2 table.

    `shots`: the number of training images of each class, and the most validation images; null for all.
    """

    readouts: Annotated[list[Readout], AfterValidator(once)] = Field(list(READOUTS), min_length=1)
    shots: int | None = Field(None, ge=1)
