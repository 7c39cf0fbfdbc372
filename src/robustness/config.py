"""The section `robustness` of the settings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src.core.section import Section, once

Attack = Literal["fgsm", "pgd", "apgd_ce", "square", "autoattack"]
Severity = Annotated[int, Field(ge=1, le=5)]
Epsilon = Annotated[float, Field(gt=0, le=255)]


class Robustness(Section):
    """What every arm is measured on besides: corruptions, attacks and unknown images; off unless `enabled`.

    `images`: so many test images at most, drawn at random; null for all. `epsilons` are in 255ths, and the first is the
    one that metrics name alone. `steps` are those of PGD and APGD-CE; Square asks the network 25 times as often, and
    autoattack has a budget of its own. `corrupted`: a folder with the official files of CIFAR-10-C; null corrupts here.
    """

    enabled: bool = False
    images: int | None = Field(1000, ge=2)
    severities: Annotated[list[Severity], AfterValidator(once)] = Field([1, 2, 3, 4, 5], min_length=1)
    attacks: Annotated[list[Attack], AfterValidator(once)] = Field(["fgsm", "pgd", "apgd_ce", "square"])
    epsilons: Annotated[list[Epsilon], AfterValidator(once)] = Field([0.25, 0.5, 1, 2, 4, 8], min_length=1)
    steps: int = Field(20, ge=1, le=10_000)
    corrupted: str | None = Field(None, min_length=1)
