"""The ImageNet categories of each class, from imagenet_labels.yaml in this folder, for the read-out `zero_shot`."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

from src.core.errors import UserError
from src.readouts.zero_shot import CATEGORIES, PretrainedHead


def available(readouts: Sequence[str], classes: list[str], head: PretrainedHead | None) -> tuple[list[str], str | None]:
    """The read-outs that are possible with these classes and this head, and why zero_shot was dropped, if it was.

    Raises:
        UserError: no read-out is left.
    """
    why = unavailable(classes, head) if "zero_shot" in readouts else None
    possible = [name for name in readouts if not (name == "zero_shot" and why)]
    if not possible:
        raise UserError(f"frozen.readouts = [zero_shot]: {why}; allowed here are the others, e.g. linear")
    return possible, why


_MAPPING = Path(__file__).with_name("imagenet_labels.yaml")


@cache
def mapping() -> dict[str, dict[int, str | None]]:
    """The categories of each class, index -> name; None for those inside a range, of which only the ends are named."""
    entries = yaml.safe_load(_MAPPING.read_text(encoding="utf-8"))
    return {name: {i: label for line in lines for i, label in _span(line).items()} for name, lines in entries.items()}


def _span(line: str) -> dict[int, str | None]:
    """`7 cock .. 9 ostrich` -> {7: cock, 8: None, 9: ostrich}; `404 airliner` -> {404: airliner}."""
    ends = {int(index): name for index, name in (end.split(" ", 1) for end in line.split(" .. "))}
    return {index: ends.get(index) for index in range(min(ends), max(ends) + 1)}


def categories(classes: Sequence[str]) -> list[list[int]]:
    """The indices of the categories of each class, each of which is in the mapping."""
    return [list(mapping()[name]) for name in classes]


def unmapped(classes: Sequence[str]) -> list[str]:
    """The classes whose list of categories is empty, such as deer."""
    return [name for name in classes if mapping().get(name) == {}]


def unavailable(classes: Sequence[str], head: PretrainedHead | None) -> str | None:
    """Why zero_shot is not possible with these classes and this head, as one line; None if it is.

    Args:
        head: None if the backbone came without a head that was pretrained on ImageNet-1k.
    """
    if head is None or len(head.weight) != CATEGORIES:
        return (
            "zero_shot: the weights have no head that was pretrained on ImageNet-1k; set weights to imagenet, or drop "
            "zero_shot from frozen.readouts"
        )
    for name in classes:
        if name not in mapping():
            return (
                f"zero_shot: class {name!r} has no entry in src/evaluate/{_MAPPING.name}; add the ImageNet categories "
                "that show it, or drop zero_shot from frozen.readouts"
            )
    if len(classes) - len(unmapped(classes)) < 2:
        return (
            f"zero_shot: ImageNet-1k has no category for {', '.join(unmapped(classes))}, which leaves fewer than two "
            "classes to tell apart; choose others, or drop zero_shot from frozen.readouts"
        )
    return None
