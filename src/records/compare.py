"""What the comparison of all arms leaves in `data/results/compare.json`."""

from pydantic import Field

from src.core.records import Interval, Pair, Record


class Cost(Record):
    """What an arm takes: `macs` of one image's forward pass, `train_macs` of all adaptation, `peak_memory` in bytes."""

    parameters: int
    trained_parameters: int
    macs: int
    train_macs: int
    train_seconds: float
    images_per_second: float
    peak_memory: int


class ComparedArm(Record):
    """One arm by its name and its title for people: accuracy on the test and on the validation images, and cost."""

    arm: str
    title: str
    accuracy: Interval
    val_accuracy: float
    cost: Cost


class BaseClassesArm(Record):
    """One arm on the images of the base classes, with all K outputs competing, and with those of the base classes."""

    arm: str
    title: str
    full_head: Interval
    restricted: Interval


class BaseClasses(Record):
    """The test on the first `count` classes alone."""

    count: int
    arms: list[BaseClassesArm]


class RecallArm(Record):
    """One arm's recall of each class (K,), and their mean: accuracy as it were with a balanced test set."""

    arm: str
    title: str
    recall: list[float]
    balanced_accuracy: float


class ByFrequency(Record):
    """Recall where classes differ in their number of training images (K,)."""

    train_images: list[int]
    arms: list[RecallArm]


class Comparison(Record):
    """All arms on the same `n` test images.

    `cells` names the arm in each cell of the 2 x 2 table that was run; `lead` is the difference that the question asks
    for; `effects` are those of the table, where it is complete; `unavailable` says why an arm is missing, by its name;
    `verdict` holds three sentences.
    """

    n: int
    classes: list[str]
    confidence: float
    resamples: int
    arms: list[ComparedArm]
    cells: dict[str, str]
    lead: Interval
    effects: dict[str, Interval] = Field({})
    pairs: list[Pair]
    base_classes: BaseClasses
    by_frequency: ByFrequency | None = None
    unavailable: dict[str, str] = Field({})
    verdict: list[str] = Field([])

    def arm(self, name: str) -> ComparedArm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.arm == name)
