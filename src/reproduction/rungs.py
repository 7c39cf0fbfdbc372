"""The ladder from the report's protocol to the fair one: the one table of its changes.

A rung is the protocol `fair` with the report's value of everything that is not yet changed. The values are those of
`protocols.TABLE`; what stands here is their order, what belongs together, and how one change is undone from `fair`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.settings import protocols
from src.settings.protocols import TABLE

AUGMENTED = {"finetune.watch": "augmented_test", "finetune.keep": "last"}


def _of(protocol: str, *names: str) -> dict[str, Any]:
    """The values of some settings under a protocol."""
    decided = protocols.decided(protocol)
    return {name: decided[name] for name in names}


@dataclass(frozen=True)
class Change:
    """One choice of the report, replaced by the fair one.

    Args:
        words: what the table and the picture call it.
        values: settings after the change.
        undone: settings of `fair` that undo this change alone.
        measure: whether what changes is the images that are measured, of the same networks.
    """

    words: str
    values: Mapping[str, Any]
    undone: Mapping[str, Any] = field(default_factory=dict)
    measure: bool = False


RECIPE = ("finetune.optimizer", "finetune.lr", "finetune.momentum", "finetune.nesterov", "finetune.weight_decay")
CHANGES = (
    # Watching changes no network, so plain and augmented test images are measured on the same ones.
    Change("plain instead of augmented test images", {}, AUGMENTED, measure=True),
    # Before the changes of how many images there are: a last batch of one or two of them would wreck those rungs.
    Change("no incomplete batch", _of("fair", "finetune.drop_last"), _of("report", "finetune.drop_last")),
    Change(
        "a validation part of the training images",
        _of("fair", "prepare.val_fraction", "finetune.watch"),
        {"finetune.watch": "test"},  # the search and the read-outs choose on validation images, which therefore stay
    ),
    Change("the best epoch instead of the last", _of("fair", "finetune.keep"), AUGMENTED),
    Change(
        f"{TABLE['prepare.per_class'].fair} training images of each class instead of all",
        _of("fair", "prepare.per_class"),
        _of("report", "prepare.per_class"),
    ),
    Change("the weights' own normalisation", _of("fair", "normalisation"), _of("report", "normalisation")),
    Change("Adam at an assumed rate instead of SGD", _of("report_text", *RECIPE), _of("report", *RECIPE)),
    Change("a searched rate", _of("fair", *RECIPE, "tune.configurations"), _of("report", "tune.configurations")),
    Change(
        f"{TABLE['image_size'].fair} instead of {TABLE['image_size'].report} pixels",
        _of("fair", "image_size"),
        _of("report", "image_size"),
    ),
    Change(
        # The controls, which stand beside both arms, come with it, so that the last rung is `fair` and nothing else.
        "a trained read-out on the modern backbone",
        _of("fair", "frozen.readouts", "controls"),
        _of("report", "frozen.readouts"),
    ),
)


@dataclass(frozen=True)
class Rung:
    """An experiment of the ladder, as overrides of `fair`, and which test images of it are measured."""

    words: str
    overrides: tuple[str, ...]
    augmented: bool = False


@dataclass(frozen=True)
class Undone:
    """A change undone from `fair`: a rung, and the one that it is compared with."""

    rung: Rung
    less: Rung


def rungs(common: Sequence[str] = ()) -> list[Rung]:
    """The rungs from the report's protocol to the fair one.

    Args:
        common: overrides of every rung, `key=value`; a change of nothing but their settings is left out.
    """
    held, fair, state = held_by(common), protocols.decided("fair"), protocols.decided("report")
    result = [Rung("as in the report", _overrides(state, fair, held, common), augmented=True)]
    for change in open_changes(held):
        state |= dict(change.values)
        result.append(Rung(change.words, _overrides(state, fair, held, common)))
    return result


def undone(common: Sequence[str] = ()) -> list[Undone]:
    """Each change alone undone from `fair`, without the controls, which change neither arm."""
    held, fair = held_by(common), protocols.decided("fair")
    last = rungs(common)[-1]
    result = []
    for change in open_changes(held):
        state = fair | _of("report", "controls") | dict(change.undone)
        overrides = _overrides(state, fair, held, common)
        less = Rung("", overrides) if change.measure else last
        result.append(Undone(Rung(change.words, overrides, augmented=change.measure), less))
    return result


def beyond(pixels: Sequence[int], common: Sequence[str] = ()) -> list[Rung]:
    """The fair protocol on larger images than its own, without the controls."""
    held, fair = held_by(common), protocols.decided("fair")
    sizes = [size for size in pixels if size > fair["image_size"] and "image_size" not in held]
    return [
        Rung(
            f"{size} instead of {fair['image_size']} pixels",
            _overrides(fair | _of("report", "controls") | {"image_size": size}, fair, held, common),
        )
        for size in sizes
    ]


def held_by(common: Sequence[str]) -> set[str]:
    """The settings that stay the same on all rungs."""
    return {text.partition("=")[0] for text in common}


def open_changes(held: Collection[str]) -> list[Change]:
    """The changes that are left where some settings are held."""
    return [change for change in CHANGES if change.measure or set(change.values) - set(held) - {"controls"}]


def _overrides(
    state: Mapping[str, Any], fair: Mapping[str, Any], held: Collection[str], common: Sequence[str]
) -> tuple[str, ...]:
    """The state as overrides of `fair`, in the words of `dvc exp run -S`."""
    differing = [f"{name}={_word(value)}" for name, value in state.items() if value != fair[name] and name not in held]
    return ("protocol=fair", *differing, *common)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
