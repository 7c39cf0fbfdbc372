"""The verdict: three sentences that say what the numbers say."""

import pytest

from src.compare import verdict
from src.core.records import Interval, Pair
from src.records.compare import BaseClasses, ComparedArm, Comparison, Cost

CELLS = {
    "resnet.finetuned": "resnet.full",
    "resnet.frozen": "resnet.linear",
    "convnext.finetuned": "convnext.full",
    "convnext.frozen": "convnext.linear",
}
TITLES = {
    "resnet.full": "resnet18, fine-tuned",
    "resnet.linear": "resnet18, frozen, linear",
    "convnext.full": "convnext_tiny, fine-tuned",
    "convnext.linear": "convnext_tiny, frozen, linear",
    "convnext.knn": "convnext_tiny, frozen, k-NN",
}
COST = {"parameters": 1, "trained_parameters": 1, "peak_memory": 1, "macs": 2 * 10**9, "train_macs": 10**15}
COST |= {"train_seconds": 300.0, "images_per_second": 1000.0}


def interval(value: float, half: float = 0.01) -> Interval:
    return Interval(value, value - half, value + half)


def compared(
    accuracies: dict[str, float], *, half: float = 0.01, costs=None, p: float = 1e-9, n: int = 10_000
) -> Comparison:
    """A comparison of arms with these accuracies; every difference's interval is +- `half`."""
    names = list(accuracies)
    arms = [
        ComparedArm(
            arm=name,
            title=TITLES[name],
            accuracy=interval(value),
            val_accuracy=value,
            cost=Cost(**COST | (costs or {}).get(name, {})),
        )
        for name, value in accuracies.items()
    ]
    pairs = [
        Pair(a, b, interval(accuracies[a] - accuracies[b], half), p / 2, p, 0, 0)
        for place, a in enumerate(names)
        for b in names[place + 1 :]
    ]
    lead = accuracies["resnet.full"] - accuracies["convnext.linear"]
    return Comparison(
        n=n,
        classes=list("abcde"),
        confidence=0.95,
        resamples=100,
        arms=arms,
        cells={cell: name for cell, name in CELLS.items() if name in accuracies},
        lead=interval(lead, half),
        pairs=pairs,
        base_classes=BaseClasses(count=2, arms=[]),
    )


TWO = {"resnet.full": 0.9, "convnext.linear": 0.8}
FOUR = {"resnet.full": 0.9, "resnet.linear": 0.6, "convnext.full": 0.95, "convnext.linear": 0.8}


def test_the_winner_is_named_with_the_runner_up_and_the_number_of_classes():
    first, *_ = verdict.sentences(compared(FOUR))
    assert first == (
        "At 5 classes, convnext_tiny (fine-tuned) wins with 95.0% of the test images right; "
        "next comes resnet18 (fine-tuned) with 90.0%."
    )


def test_the_margin_and_the_reports_own_pair_are_given_with_their_certainty():
    _, second, _ = verdict.sentences(compared(FOUR))
    assert second == (
        "The difference is 5.0 points (95% interval +4.0 to +6.0) on 10,000 test images, "
        "exact McNemar p < 0.0001 after Holm's adjustment for 6 pairs; "
        "the report's own pair, resnet18 (fine-tuned) less convnext_tiny (frozen, linear): "
        "+10.0 points (95% interval +9.0 to +11.0); "
        "this is one seed, and the intervals cover the choice of test images alone."
    )


def test_where_the_reports_own_pair_is_on_top_it_is_not_told_twice():
    _, second, _ = verdict.sentences(compared(TWO))
    assert second == (
        "The difference is 10.0 points (95% interval +9.0 to +11.0) on 10,000 test images, exact McNemar p < 0.0001; "
        "this is one seed, and the interval covers the choice of test images alone."
    )


def test_a_pair_that_is_listed_the_other_way_round_is_turned():
    """ResNet comes first in the list and second in accuracy: its lead of -7 points is ConvNeXt's of 7."""
    first, second, _ = verdict.sentences(compared({"resnet.full": 0.8, "convnext.linear": 0.87}, half=0.02))
    assert first.startswith("At 5 classes, convnext_tiny (frozen, linear) wins")
    assert "7.0 points (95% interval +5.0 to +9.0)" in second


def test_no_difference_is_shown_where_the_interval_covers_zero():
    first, second, _ = verdict.sentences(compared(FOUR, half=0.06, p=0.2))
    assert first == (
        "At 5 classes: no difference shown between convnext_tiny (fine-tuned) (95.0%) "
        "and resnet18 (fine-tuned) (90.0%), the two best cells of the 2 x 2 table."
    )
    assert "5.0 points (95% interval -1.0 to +11.0)" in second
    assert "p = 0.2 " in second
    assert "no difference shown in the report's own pair" not in second  # 10 points, +- 6


def test_no_difference_is_shown_in_the_reports_own_pair_if_its_interval_covers_zero():
    _, second, _ = verdict.sentences(compared(FOUR, half=0.11))
    assert "; no difference shown in the report's own pair, resnet18 (fine-tuned) less" in second


def test_arms_that_answer_alike_show_no_difference():
    """A difference of exactly 0 with an interval of [0, 0]: no minus before a zero, and p is 1."""
    for names in (("resnet.full", "convnext.linear"), ("convnext.linear", "resnet.full")):
        first, second, _ = verdict.sentences(compared(dict.fromkeys(names, 0.7), half=0, p=1.0))
        assert first.startswith("At 5 classes: no difference shown between")
        assert first.endswith("the two arms compared.")
        assert "The difference is 0.00 points (95% interval +0.00 to +0.00)" in second
        assert "p = 1;" in second


def test_an_interval_that_ends_at_zero_covers_it():
    first, *_ = verdict.sentences(compared({"resnet.full": 0.75, "convnext.linear": 0.5}, half=0.25))
    assert "no difference shown" in first


def test_each_column_is_represented_by_its_cell_and_other_arms_stay_out():
    first, second, _ = verdict.sentences(compared(FOUR | {"convnext.knn": 0.99}))
    assert "k-NN" not in first
    assert "10 pairs" in second


def test_narrow_intervals_are_given_with_two_decimals():
    first, second, _ = verdict.sentences(compared({"resnet.full": 0.9012, "convnext.linear": 0.8991}, half=0.001))
    assert "90.12%" in first
    assert "89.91%" in first
    assert "0.21 points (95% interval +0.11 to +0.31)" in second


def test_one_point_is_singular():
    _, second, _ = verdict.sentences(compared({"resnet.full": 0.51, "convnext.linear": 0.5}, half=0.009))
    assert "The difference is 1.0 point (" in second


@pytest.mark.parametrize(
    ("p", "said"), [(1e-40, "p < 0.0001"), (0.00012, "p = 0.00012"), (0.0456, "p = 0.046"), (1.0, "p = 1")]
)
def test_p_is_rounded_to_two_digits_and_tiny_ones_are_bounded(p, said):
    assert f"exact McNemar {said};" in verdict.sentences(compared(TWO, p=p))[1]


def cost(**arms: dict[str, float]) -> str:
    """The third sentence, for ResNet ahead of ConvNeXt."""
    costs = {"resnet.full": arms.get("resnet", {}), "convnext.linear": arms.get("convnext", {})}
    return verdict.sentences(compared(TWO, costs=costs))[2]


def test_the_cost_is_the_winners_relative_to_the_runner_ups():
    text = cost(
        resnet={"train_macs": 32 * 10**14, "train_seconds": 640.0, "images_per_second": 12_000.0},
        convnext={"macs": 5 * 10**9, "train_seconds": 320.0},
    )
    assert text == (
        "Compared with convnext_tiny (frozen, linear), resnet18 (fine-tuned) needed 3.2x the training arithmetic "
        "and 2.0x the training time (640 s against 320 s); per image it needs 0.4x the arithmetic, "
        "and it classifies 12x the images per second."
    )


def test_equal_costs_are_the_same_and_nearly_equal_ones_about_the_same():
    text = cost(resnet={"train_seconds": 303.0})
    assert "needed the same training arithmetic and about the same training time (303 s against 300 s)" in text
    assert "it needs the same arithmetic, and it classifies the same images per second" not in text
    assert "it needs the same arithmetic, and it classifies the same number of images per second." in text


NOTHING = {"train_macs": 0, "train_seconds": 0.002}


def test_an_arm_that_trains_nothing_is_never_divided_by():
    assert cost(convnext=NOTHING).startswith(
        "Compared with convnext_tiny (frozen, linear), resnet18 (fine-tuned) needed 1.0e+15 multiply-adds in 300 s "
        "of training, instead of none; per image"
    )
    assert cost(resnet=NOTHING).startswith(
        "Compared with convnext_tiny (frozen, linear), resnet18 (fine-tuned) needed no training, instead of 1.0e+15 "
        "multiply-adds in 300 s; per image"
    )
    assert cost(resnet=NOTHING, convnext=NOTHING).startswith(
        "Neither resnet18 (fine-tuned) nor convnext_tiny (frozen, linear) needed training; per image the first "
    )


def test_tiny_ratios_are_bounded():
    assert "under 0.001x the training arithmetic" in cost(resnet={"train_macs": 10**9})
    assert "0.045x the training arithmetic" in cost(resnet={"train_macs": 45 * 10**12})
    assert "1,500x the training arithmetic" in cost(resnet={"train_macs": 15 * 10**17})


def test_two_backbones_of_one_architecture_are_told_apart_by_their_role(monkeypatch):
    monkeypatch.setitem(TITLES, "resnet.full", "resnet18 (resnet), fine-tuned")
    monkeypatch.setitem(TITLES, "convnext.linear", "resnet18 (convnext), frozen, linear")
    first, *_ = verdict.sentences(compared(TWO))
    assert "resnet18 (resnet; fine-tuned) wins" in first
    assert "resnet18 (convnext; frozen, linear)" in first


def test_there_are_three_sentences_and_each_ends():
    for result in (compared(TWO), compared(FOUR), compared(FOUR, half=0.5), compared(TWO, half=0.5)):
        sentences = verdict.sentences(result)
        assert len(sentences) == 3
        assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in sentences)
