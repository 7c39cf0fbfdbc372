"""The section `download` of the settings, and the type of a list of class names."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from src.core.section import Section


def _names(value: Any) -> Any:
    """Convert names that YAML reads as numbers, such as the digits 3 and 8, to text."""
    if not isinstance(value, list):
        return value
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]


ClassNames = Annotated[list[str], BeforeValidator(_names), Field(min_length=1)]


class Download(Section):
    """How the images of a folder are stored."""

    max_side: int = Field(
        256,
        ge=8,
        le=4096,
        description="images that are not all squares of one size are cut to squares of their median side, at most this",
    )
