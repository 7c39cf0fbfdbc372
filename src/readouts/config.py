"""The section `frozen` of the settings."""

from typing import Annotated

from pydantic import AfterValidator, Field

from src.core.section import Section, once, one_of

READOUTS = ("linear", "knn", "centroid", "zero_shot", "random_head")

Readout = Annotated[str, one_of(READOUTS)]


class Frozen(Section):
    """How the features of a frozen backbone are turned into classes."""

    readouts: Annotated[list[Readout], AfterValidator(once)] = Field(
        list(READOUTS),
        min_length=1,
        description="the first is in the 2 x 2 table; random_head is an untrained layer",
    )
