"""What the report published: every value of its five figures, from `published.json`, which names the source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.storage import files

FILE = Path(__file__).with_name("published.json")
# The curves of a training's history, and their names in the file.
CURVES = {
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "val_loss": "validation_loss",
    "val_accuracy": "validation_accuracy",
}
BARS = {2: "resnet18_2", 5: "resnet18_5", 10: "resnet18_10"}
HEAD = "convnext_tiny_random_head"
BAR_CLASSES, BAR_IMAGES = 2, 2000  # the bar chart tests on the first two classes


@dataclass(frozen=True)
class Published:
    """The report's values.

    Args:
        curves: by name (`val_loss`) and number of classes K, the value after each epoch.
        images: the number of validation images by K.
        bars: right answers of 2,000 by the K of the network; that of the untrained head is `head`.
    """

    source: str
    curves: Mapping[str, Mapping[int, Sequence[float]]]
    images: Mapping[int, int]
    bars: Mapping[int, int]
    head: int


def published() -> Published:
    """Read the file."""
    values = files.read_json(FILE)
    bars = values["first_two_classes_correct_of_2000"]
    return Published(
        source=values["source"],
        curves={name: {int(k): curve for k, curve in values[theirs].items()} for name, theirs in CURVES.items()},
        images={int(k): count for k, count in values["validation_images"].items()},
        bars={k: bars[name] for k, name in BARS.items()},
        head=bars[HEAD],
    )
