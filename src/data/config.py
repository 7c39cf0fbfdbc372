"""The section `download` of the settings, and class names as YAML has them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from src.core.section import Section


def _names(value: Any) -> Any:
    """Class names that YAML reads as numbers (the digits 3 and 8) are names all the same."""
    if not isinstance(value, list):
        return value
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]


ClassNames = Annotated[list[str], BeforeValidator(_names), Field(min_length=1)]


class Download(Section):
    """`max_side`: folder images that are not squares of one size are cut to squares of at most so many pixels."""

    max_side: int = Field(256, ge=8, le=4096)
