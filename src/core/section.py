"""The base class of every section of the settings, and the checks that several sections use."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from src.core.errors import did_you_mean


def one_of(allowed: tuple[str, ...]) -> Any:
    """Refuse every value but those allowed, and suggest the nearest of them."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{did_you_mean(str(value), allowed)}allowed: {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def once(values: list[Any]) -> list[Any]:
    """Refuse a list that has a value twice."""
    if len(set(values)) < len(values):
        raise ValueError("each may be named once")
    return values


class Section(BaseModel):
    """Immutable settings: an unknown key is an error, and no value is converted from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
