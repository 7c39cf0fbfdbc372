"""A section of the settings: the base class of every `config.py`, and the checks that they share."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from src.core.errors import did_you_mean


def known(allowed: tuple[str, ...]) -> Any:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{did_you_mean(str(value), allowed)}allowed: {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def once(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each may be named once")
    return values


class Section(BaseModel):
    """Settings are closed (a misspelt key is an error), immutable, and never coerced from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
