"""The section `compare` of the settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from src.core import design
from src.core.errors import did_you_mean
from src.core.section import Section


def _named(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError("a contrast has a name of letters, digits and _, such as size")
    return name


def _pair(backbones: list[str]) -> list[str]:
    names = [design.plain_name(text) for text in backbones]
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError("allowed are two different backbones, the first less the second: [resnet50, resnet18]")
    return names


Contrasts = dict[Annotated[str, AfterValidator(_named)], Annotated[list[str], AfterValidator(_pair)]]


def _two(question: list[str]) -> list[str]:
    if len(question) != 2 or any(name.count(".") != 1 for name in question):
        raise ValueError(
            "allowed are two cells or arms, the first less the second: [resnet.finetuned, convnext.frozen]"
        )
    if question[0] == question[1]:
        raise ValueError("both are the same; name two different cells or arms")
    return question


class Compare(Section):
    """How the arms are compared."""

    question: Annotated[list[str], AfterValidator(_two)] = Field(
        list(design.QUESTION),
        description="which is ahead: two cells of the 2 x 2 table, or arms (resnet.full)",
    )
    margin: float = Field(
        0.01, gt=0, lt=1, description="share of the test images; arms that differ by less count as equivalent"
    )
    contrasts: Contrasts | None = Field(
        None,
        description="of backbones, frozen and fine-tuned, the first less the second: {size: [resnet50, resnet18]}",
    )
    base_classes: int = Field(
        2, ge=2, description="number of first classes on which the report's bar chart tests every arm"
    )
    confidence: float = Field(0.95, gt=0.5, le=0.9999, description="confidence level of all intervals and tests")


def question_fault(question: Sequence[str], cells: Mapping[str, str], arms: Sequence[str]) -> str | None:
    """Why a question cannot be asked of these arms, in one line; None if it can be.

    Args:
        cells: the arm in each cell of the 2 x 2 table that is run.
    """
    shown = f"compare.question = [{', '.join(question)}]"
    for name in question:
        if name not in cells and name not in arms:
            known = [*cells, *arms]
            return f"{shown}: {name} is not run; {did_you_mean(name, known)}allowed: {', '.join(known)}"
    first, second = (cells.get(name, name) for name in question)
    return f"{shown}: both are {first}; name two different arms" if first == second else None
