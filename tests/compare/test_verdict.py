"""The verdict: sentences that say what the numbers say, the answer to the question first."""

import pytest

from src.compare import verdict
from src.core.records import Interval
from src.records.compare import BaseClasses, ComparedArm, Comparison, Contrast, Cost, Parts
from tests.helpers.toy_records import contrast

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
}
COST = {"parameters": 1, "trained_parameters": 1, "peak_memory": 1, "macs": 2 * 10**9, "train_macs": 10**15}
COST |= {"train_seconds": 300.0, "images_per_second": 1000.0}
QUESTION = {"resnet.full": 1.0, "convnext.linear": -1.0}


def interval(value: float, half: float = 0.01) -> Interval:
    return Interval(value, value - half, value + half)


def compared(primary: Contrast, *, seeds: int = 3, effects=None, best=None, costs=None, configurations=None, **given):
    """A comparison of four arms, or of the question's two where there are no effects."""
    names = list(CELLS.values()) if effects or best else list(QUESTION)
    arms = [
        ComparedArm(
            arm=name,
            title=TITLES[name],
            accuracy=interval(0.9),
            seeds={},
            val_accuracy=0.9,
            configurations=(configurations or {}).get(name),
            cost=Cost(**COST | (costs or {}).get(name, {})),
        )
        for name in names
    ]
    fields = {"n": 10_000, "classes": list("abcde"), "confidence": 0.95, "margin": 0.01, "pairs": []}
    return Comparison(
        **fields | given,
        seeds=list(range(seeds)),
        arms=arms,
        cells={cell: name for cell, name in CELLS.items() if name in names},
        best=best,
        primary=primary,
        effects=effects or {},
        base_classes=BaseClasses(count=2, arms=[]),
    )


def said(primary: Contrast, **given) -> list[str]:
    return verdict.sentences(compared(primary, **given))


def test_who_is_ahead_is_said_first_with_its_certainty():
    assert said(contrast())[0] == (
        "At 5 classes, resnet18 (fine-tuned) is ahead of convnext_tiny (frozen, linear) by 10.0 points (95% interval "
        "+9.0 to +11.0), p < 0.0001, over 3 seeds and 10,000 test images."
    )


def test_the_second_arm_may_be_ahead_and_the_difference_is_turned():
    first = said(contrast(-0.07, 0.02, p=0.012))[0]
    assert "convnext_tiny (frozen, linear) is ahead of resnet18 (fine-tuned) by 7.0 points" in first
    assert "(95% interval +5.0 to +9.0), p = 0.012," in first


def test_a_lead_that_is_smaller_than_the_margin_is_called_so():
    first = said(contrast(0.004, 0.003, p=0.01, p_equivalent=0.001))[0]
    assert first.endswith("over 3 seeds and 10,000 test images, which is less than the margin of 1 point.")


def test_equivalent_arms_are_called_so_with_the_margin_and_the_tests():
    assert said(contrast(0.002, 0.005, "equivalent within the margin", 0.3, p_equivalent=0.013), margin=0.015)[0] == (
        "At 5 classes, resnet18 (fine-tuned) and convnext_tiny (frozen, linear) are equivalent within the margin of "
        "1.5 points (two one-sided tests, p = 0.013): the first less the second is +0.2 points (95% interval -0.3 to "
        "+0.7) over 3 seeds and 10,000 test images."
    )


def test_what_is_not_settled_comes_with_the_smallest_difference_that_could_have_been_shown():
    assert said(contrast(0.01, 0.04, "not settled", 0.4))[0] == (
        "At 5 classes, it is not settled whether resnet18 (fine-tuned) or convnext_tiny (frozen, linear) is ahead: the "
        "first less the second is +1.0 point (95% interval -3.0 to +5.0), p = 0.4, over 3 seeds and 10,000 test "
        "images; the smallest difference that this run could have shown, with a probability of 0.8, is 2.34 points."
    )
    nothing = said(contrast(0.01, 0.9, "not settled", 0.9, detectable=2.04))[0]
    assert nothing.endswith("is more than 100 points.")


ONE = {
    "seeds": {"0": 0.1},
    "covers": "test images",
    "parts": Parts(seeds=None, images=0.0003, residual=None),
    "word": "not settled",
}


def test_one_seed_speaks_of_networks_and_never_of_who_is_ahead():
    resnet, convnext = "resnet18 (fine-tuned)", "convnext_tiny (frozen, linear)"
    for value, better, other in ((0.1, resnet, convnext), (-0.1, convnext, resnet)):
        sentences = said(contrast(value, **ONE), seeds=1)
        assert sentences[0].startswith(f"At 5 classes and with one seed, this network of {better}")
        assert f"right than that of {other}" in sentences[0]
        assert (
            "by 10.0 points (95% interval +9.0 to +11.0), p < 0.0001, over the choice of images alone" in sentences[0]
        )
        assert sentences[0].endswith("; which recipe is better needs more seeds.")
        assert not any("ahead" in sentence for sentence in sentences)


def test_one_seed_whose_networks_are_level_leaves_that_open_too():
    first = said(contrast(0.01, 0.04, p=0.4, **ONE), seeds=1)[0]
    assert "it is not settled which of two networks gets more images right" in first
    assert "+1.0 point (95% interval -3.0 to +5.0), p = 0.4" in first
    assert first.endswith("which recipe is better needs more seeds.")


def test_each_seeds_own_difference_and_the_parts_of_the_variance_are_told():
    assert said(contrast())[1] == (
        "Under each seed the first less the second is +8.0, +10.0 and +12.0 points; of the variance of one such run "
        "60 % comes from the seed, 30 % from the choice of test images and 10 % from both together. As a difference of "
        "log odds it is +0.32 (+0.20 to +0.44)."
    )


def test_of_many_seeds_the_range_is_told():
    many = {str(seed): 0.1 + 0.01 * seed for seed in range(6)}
    assert "the second is between +10.0 and +15.0 points;" in said(contrast(seeds=many), seeds=6)[1]


EFFECTS = {
    "backbone": contrast(-0.02, 0.01, p=0.004, title="convnext_tiny less resnet18"),
    "finetuning": contrast(0.03, 0.04, "not settled", 0.2, title="fine-tuned less frozen"),
    "interaction": contrast(0.02, 0.01, p=0.03, log_odds_p=0.3, title="more of it"),
}


def test_the_effects_are_a_family_of_three():
    assert said(contrast(), effects=EFFECTS)[2] == (
        "The effects of the 2 x 2 table, a family of three with p after Holm: backbone, convnext_tiny less resnet18: "
        "-2.0 points (95% interval -3.0 to -1.0), p = 0.004, behind; finetuning, fine-tuned less frozen: +3.0 points "
        "(95% interval -1.0 to +7.0), p = 0.2, not settled (could have shown 2.34 points); interaction, more of it: "
        "+2.0 points (95% interval +1.0 to +3.0), p = 0.03, ahead, but not settled in log odds, p = 0.3."
    )


def test_the_effects_of_one_seed_are_those_of_its_networks():
    effects = {name: contrast(p=0.001, title=name, **ONE) for name in EFFECTS}
    third = said(contrast(**ONE), seeds=1, effects=effects)[1]
    assert third.startswith("The effects of the 2 x 2 table of these networks alone, a family")
    assert "ahead" not in third


def test_the_best_cell_is_that_of_validation_images_and_has_an_interval():
    sentence = said(contrast(), best="convnext.full")[2]
    assert sentence == (
        "Of the four cells convnext_tiny (fine-tuned) was right most often on validation images; of the test images it "
        "gets 90.0% right (95% interval 89.0% to 91.0%)."
    )
    assert not any("validation" in part for part in said(contrast()))


def test_narrow_intervals_are_given_with_two_decimals():
    assert "by 0.21 points (95% interval +0.11 to +0.31)" in said(contrast(0.0021, 0.001))[0]


@pytest.mark.parametrize(
    ("p", "said_"), [(1e-40, "p < 0.0001"), (0.00012, "p = 0.00012"), (0.0456, "p = 0.046"), (1.0, "p = 1")]
)
def test_p_is_rounded_to_two_digits_and_tiny_ones_are_bounded(p, said_):
    assert f"{said_}," in said(contrast(p=p))[0]


def cost(resnet=None, convnext=None, **given) -> str:
    """The last sentence."""
    return said(contrast(), costs={"resnet.full": resnet or {}, "convnext.linear": convnext or {}}, **given)[-1]


def test_the_cost_is_the_firsts_relative_to_the_seconds():
    text = cost(
        resnet={"train_macs": 32 * 10**14, "train_seconds": 640.0, "images_per_second": 12_000.0},
        convnext={"macs": 5 * 10**9, "train_seconds": 320.0},
    )
    assert text == (
        "Compared with convnext_tiny (frozen, linear), resnet18 (fine-tuned) needed 3.2x the training arithmetic "
        "and 2.0x the training time (640 s against 320 s); per image it needs 0.4x the arithmetic, "
        "and it classifies 12x the images per second."
    )


def test_the_cost_names_the_search_that_it_includes():
    both = cost(configurations={"resnet.full": 5, "convnext.linear": 5})
    assert "(300 s against 300 s), the search of settings among 5 configurations each included; per image" in both
    one = cost(configurations={"convnext.linear": 5})
    assert "among 1 and 5 configurations included" in one
    assert "search" not in cost(configurations=dict.fromkeys(QUESTION, 1))


def test_equal_costs_are_the_same_and_nearly_equal_ones_about_the_same():
    text = cost(resnet={"train_seconds": 303.0})
    assert "needed the same training arithmetic and about the same training time (303 s against 300 s)" in text
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
    assert "resnet18 (resnet; fine-tuned) is ahead of resnet18 (convnext; frozen, linear)" in said(contrast())[0]


def test_every_sentence_ends_and_none_says_that_no_difference_was_shown():
    for word, seeds in (("ahead", 3), ("equivalent within the margin", 3), ("not settled", 3), ("not settled", 1)):
        primary = contrast(word=word) if seeds > 1 else contrast(**ONE)
        effects = dict.fromkeys(EFFECTS, primary)
        for sentence in said(primary, seeds=seeds, effects=effects, best="resnet.full"):
            assert sentence.endswith(".")
            assert sentence[0].isupper()
            assert "no difference" not in sentence
