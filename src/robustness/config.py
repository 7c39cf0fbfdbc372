"""The section `robustness` of the settings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src.core.section import Section, once

Attack = Literal["fgsm", "pgd", "apgd_ce", "square", "autoattack"]
Severity = Annotated[int, Field(ge=1, le=5)]
Epsilon = Annotated[float, Field(gt=0, le=255)]


class Robustness(Section):
    """Every arm under corruptions and attacks, and on images of unknown classes."""

    enabled: bool = Field(
        False, description="needs requirements-robustness.txt, and makes some thousand passes over the images"
    )
    images: int | None = Field(1000, ge=2, description="at most this many test images, drawn at random; null: all")
    severities: Annotated[list[Severity], AfterValidator(once)] = Field(
        [1, 2, 3, 4, 5], min_length=1, description="severities of CIFAR-10-C's corruptions"
    )
    attacks: Annotated[list[Attack], AfterValidator(once)] = Field(
        ["fgsm", "pgd", "apgd_ce", "square"],
        description="fgsm, pgd, apgd_ce, square, and from 4 classes on autoattack; []: none",
    )
    epsilons: Annotated[list[Epsilon], AfterValidator(once)] = Field(
        [0.25, 0.5, 1, 2, 4, 8],
        min_length=1,
        description="largest change of a pixel by an attack, in 255ths; metrics name the first alone",
    )
    steps: int = Field(
        20, ge=1, le=10_000, description="steps of pgd and apgd_ce; square makes 25 times as many queries"
    )
    corrupted: str | None = Field(
        None, min_length=1, description="folder with CIFAR-10-C's official files; null: corrupt the images here"
    )
