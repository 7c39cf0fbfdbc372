"""The base class of every section of the settings, and the checks that several sections use."""

from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from src.core.errors import did_you_mean


def one_of(allowed: tuple[str, ...]) -> Any:
    """Refuse every value but those allowed, and suggest the nearest: `Annotated[str, one_of(NAMES)]`."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{did_you_mean(str(value), allowed)}allowed: {', '.join(allowed)}")
        return value

    return BeforeValidator(check, json_schema_input_type=Literal[allowed])


def once(values: list[Any]) -> list[Any]:
    """The values as they are; ValueError if one occurs twice."""
    if len(set(values)) < len(values):
        raise ValueError("a value occurs twice; name each once")
    return values


class Section(BaseModel):
    """Settings cannot change once read. A misspelt key is an error, and so is a value of another type.

    `Field(description=...)` of a setting and the docstring of a section say what they mean: `python -m src.settings`
    prints them, and params.yaml repeats them as comments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
