"""The three protocols side by side: what the word `protocol` decides.

`fair` is the comparison that this repository stands for. `report` is what drew the report's figures, `report_text` what
its text says; where the text is silent, its value is the other's or is assumed. Sources and places: the public
repository hjhoon03/20242R0136COSE47402, folder final_project, at d14c7bc.

A setting of the table that is null in params.yaml takes the protocol's value. Its images are mirrored and cropped at
random (`finetune.augment`) in all three; the report mirrors first, which gives the same distribution of images, because
the crops are symmetric.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

PROTOCOLS = ("fair", "report", "report_text")


class Choice(NamedTuple):
    """One setting's value under each protocol; `assumed` where the report's text gives none and its code another."""

    fair: Any
    report: Any
    report_text: Any
    assumed: bool = False


READOUTS = ["linear", "knn", "centroid", "zero_shot", "random_head"]

TABLE: dict[str, Choice] = {
    #                                     fair           report            report_text
    "image_size": Choice(64, 32, 32, assumed=True),
    "normalisation": Choice("weights", "half", "half", assumed=True),
    "controls": Choice(True, False, False),
    "prepare.per_class": Choice(500, "all", "all", assumed=True),
    "prepare.val_fraction": Choice(0.1, 0.0, 0.0, assumed=True),
    "finetune.optimizer": Choice("adam", "sgd", "adam"),
    "finetune.lr": Choice(None, 0.01, 0.001, assumed=True),  # None: the backbone's, see `finetune.config.published_lr`
    "finetune.momentum": Choice(0.9, 0.9, 0.9, assumed=True),  # of sgd alone, as the next one
    "finetune.nesterov": Choice(True, False, False, assumed=True),
    "finetune.weight_decay": Choice(1e-4, 5e-4, 0.0, assumed=True),
    "finetune.drop_last": Choice(True, False, False, assumed=True),
    "finetune.watch": Choice("validation", "augmented_test", "augmented_test", assumed=True),
    "finetune.keep": Choice("best", "last", "last", assumed=True),
    "tune.configurations": Choice(5, 1, 1, assumed=True),
    "frozen.readouts": Choice(READOUTS, ["random_head"], ["random_head"]),
}

# Sections and settings of which a protocol of the report leaves nothing open: what is not in the table has its default.
DECIDED = ("image_size", "normalisation", "controls", "subset_seed", "prepare.", "finetune.", "tune.", "frozen.")


def decided(protocol: str) -> dict[str, Any]:
    """The value of every setting of the table under a protocol, by dotted name."""
    return {name: getattr(choice, protocol) for name, choice in TABLE.items()}


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as params.yaml has them, with the protocol's value wherever one of the table is null or missing.

    What is no protocol, or no section where one belongs, stays as it is; the settings' own checks name it.
    """
    protocol = values.get("protocol", "fair")
    filled = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    for name, value in decided(protocol if protocol in PROTOCOLS else "fair").items():
        section, _, key = name.rpartition(".")
        part = filled.setdefault(section, {}) if section else filled
        if isinstance(part, dict) and part.get(key) is None:
            part[key] = value
    return filled


def contradiction(protocol: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str | None:
    """One line on the first setting that does not go with the protocol; None if all do, or it is `fair`.

    Args:
        values, defaults: flat, by dotted name; `defaults` are those of `fair`.
    """
    if protocol == "fair":
        return None
    wanted = {name: value for name, value in defaults.items() if name.startswith(DECIDED)} | decided(protocol)
    for name, value in wanted.items():
        if values[name] != value:
            return (
                f"{name} = {_shown(values[name])} does not go with protocol = {protocol}, which sets {_shown(value)}; "
                "choose protocol=fair or leave it"
            )
    if not isinstance(values["classes"], int):
        return (
            f"classes = {_shown(values['classes'])} does not go with protocol = {protocol}, which takes the first K "
            "classes; choose protocol=fair or a number"
        )
    return None


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
