"""What the comparison of all arms leaves in `data/results/compare.json`."""

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from src.core.records import Interval, Record

# What a difference comes to. Of several seeds alone can one be ahead or equivalent.
Word = Literal["ahead", "equivalent within the margin", "not settled"]


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
    """One arm by its name and its title for people.

    `accuracy` on the test images has its interval over seeds and images, and `seeds` has each seed's own (by seed, as
    text). `val_accuracy`, on validation images, is a mean over seeds; None without such images. `configurations` is the
    number of settings that were tried on them, where some were; `cost`, a mean over seeds, includes that search.
    """

    arm: str
    title: str
    accuracy: Interval
    seeds: dict[str, float]
    val_accuracy: float | None = None
    configurations: int | None = None
    cost: Cost


class Parts(Record):
    """The variance of the value of one run (one seed, all test images), divided by what makes runs differ.

    All are in units of the value squared. `seeds`: the seed alone; `images`: the choice of test images alone;
    `residual`: what a seed changes on single images. The estimate of a part may fall below 0, and is 0 then. With one
    seed only the sum of images and residual is known, and stands as `images`.
    """

    seeds: float | None = None
    images: float
    residual: float | None = None


class Contrast(Record):
    """A weighted sum of arms' accuracies: one arm less another, or an effect of the 2 x 2 table.

    All values are shares of the test images (0.01 is a point).

    `weights` are those of the arms; `title` says the sum in words. `difference` has its interval over `covers`;
    `seeds` has each seed's own value (by seed, as text). `se` is the standard error, `df` are Satterthwaite's degrees
    of freedom. `p` is of the hypothesis that there is no difference, two-sided; `p_equivalent` of the hypothesis that
    the difference is the margin or more, by two one-sided tests; in a family of contrasts, both are adjusted by Holm's
    method. `word` follows from the two. `detectable` is the smallest true difference that such a run finds with a
    probability of 0.8. `log_odds` is the same sum of the arms' log odds, and `log_odds_p` its p, adjusted likewise.
    """

    title: str
    weights: dict[str, float]
    difference: Interval
    seeds: dict[str, float]
    covers: Literal["seeds and test images", "test images"]
    se: float
    df: float
    parts: Parts
    p: float
    p_equivalent: float
    word: Word
    detectable: float
    log_odds: Interval
    log_odds_p: float

    @property
    def said(self) -> str:
        """Its word, where the side that is ahead may be the one that is taken away."""
        return "behind" if self.word == "ahead" and self.difference.value < 0 else self.word


class Pair(Record):
    """Two arms: the accuracy of `first` less that of `second`, over seeds and test images. A description, no test."""

    first: str
    second: str
    difference: Interval


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
    """One arm's recall of each class (K,), the mean over seeds, and the mean over classes of that."""

    arm: str
    title: str
    recall: list[float]
    balanced_accuracy: float


class ByFrequency(Record):
    """Recall where classes differ in their number of training images (K,)."""

    train_images: list[int]
    arms: list[RecallArm]


class WithoutDuplicates(Record):
    """The question on the `n` test images that have no duplicate among the training images of the data set."""

    n: int
    difference: Interval


class ListedBackbone(Record):
    """One backbone of the list: the accuracy of its arms `frozen_arm` and `finetuned_arm`, and its size.

    `parameters`, and `macs` of an image, are those of the fine-tuned network.
    """

    name: str
    frozen_arm: str
    frozen: Interval
    finetuned_arm: str
    finetuned: Interval
    parameters: int
    macs: int


class Comparison(Record):
    """All arms on the same `n` test images, under the same seeds.

    `cells` names the arm in each cell of the 2 x 2 table that was run; `best` is the arm among them that was right most
    often on the validation images, None where settings were chosen on other images; `primary` is the contrast that the
    settings declare as the question; `effects` are those of the table, where it is complete, a family of three;
    `backbones` are those of the list `backbones`, and `contrasts` those of them that the settings declare, by name, a
    family of their own; `unavailable` says why an arm is missing, by its name; `verdict` holds sentences, the answer to
    the question first.
    """

    n: int
    classes: list[str]
    seeds: list[int]
    confidence: float
    margin: float
    arms: list[ComparedArm]
    cells: dict[str, str]
    best: str | None = None
    primary: Contrast
    effects: dict[str, Contrast] = Field({})
    backbones: list[ListedBackbone] = Field([])
    contrasts: dict[str, Contrast] = Field({})
    pairs: list[Pair]
    base_classes: BaseClasses
    by_frequency: ByFrequency | None = None
    without_duplicates: WithoutDuplicates | None = None
    unavailable: dict[str, str] = Field({})
    verdict: list[str] = Field([])

    def numbers(self) -> dict[str, Any]:
        """The question's difference with its interval, and the effects and contrasts without theirs."""
        numbers: dict[str, Any] = {"primary": asdict(self.primary.difference)}
        for family, contrasts in (("effects", self.effects), ("contrasts", self.contrasts)):
            if contrasts:
                numbers[family] = {name: each.difference.value for name, each in contrasts.items()}
        return numbers

    def arm(self, name: str) -> ComparedArm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.arm == name)
