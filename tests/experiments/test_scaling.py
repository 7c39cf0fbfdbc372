"""Tables over class counts, from runs small enough to be counted by hand, and their pictures."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from src.core import design
from src.core.errors import UserError
from src.experiments import scaling, scaling_figures
from src.readouts.config import READOUTS
from tests.helpers.toy_runs import DIAGONAL, SAMPLING, run, square


def only(points, **fields):
    (result,) = [point for point in points if all(getattr(point, name) == value for name, value in fields.items())]
    return result


def test_a_point_is_the_mean_over_seeds_with_their_standard_deviation():
    runs = [run({"resnet.full": text}, seed=seed) for seed, text in enumerate(("1110", "1100", "1000"))]
    (point,) = scaling.accuracy(runs, SAMPLING)
    assert (point.mean, point.sd) == (0.5, 0.25)  # of 0.75, 0.5 and 0.25
    assert (point.seeds, point.subsets, point.runs, point.covers) == (3, 1, 3, "images and seeds")
    assert point.low < 0.5 < point.high


def test_a_single_run_has_no_spread_and_an_interval_over_images():
    (point,) = scaling.accuracy([run({"resnet.full": "1" * 60 + "0" * 40})], SAMPLING)
    assert point.sd is None
    assert point.covers == "images"
    assert 0.48 < point.low < 0.52  # 0.6 less 1.96 standard errors of 0.049
    assert 0.68 < point.high < 0.72


def test_subsets_weigh_the_same_however_many_seeds_each_has():
    ones, twos = ("1111", "1111", "1111"), ("0000",)
    runs = [
        run({"resnet.full": text}, seed=seed, series="random", subset=f"subset_seed {subset}")
        for subset, texts in enumerate((ones, twos))
        for seed, text in enumerate(texts)
    ]
    (point,) = scaling.accuracy(runs, SAMPLING)
    assert point.mean == 0.5
    assert point.sd == pytest.approx(0.5)  # of 1, 1, 1, 0
    assert (point.seeds, point.subsets, point.runs, point.covers) == (3, 2, 4, "subsets")
    # Student's t with one degree of freedom: 12.706 times the standard error of 0 and 1, which is 0.5.
    assert point.high - point.mean == pytest.approx(12.706 * 0.5, rel=1e-3)


def test_the_first_classes_and_random_ones_are_never_in_one_point():
    runs = [run({"resnet.full": "11"}), run({"resnet.full": "00"}, series="random", subset="subset_seed 1")]
    points = scaling.accuracy(runs, SAMPLING)
    assert {(point.series, point.mean) for point in points} == {("first", 1.0), ("random", 0.0)}


def test_an_arm_that_some_runs_lack_is_averaged_over_those_that_have_it():
    runs = [run({"resnet.full": "11", "resnet.knn": "10"}), run({"resnet.full": "00"}, seed=1)]
    points = scaling.accuracy(runs, SAMPLING)
    assert (only(points, name="resnet.full").mean, only(points, name="resnet.full").runs) == (0.5, 2)
    assert (only(points, name="resnet.knn").mean, only(points, name="resnet.knn").runs) == (0.5, 1)


def test_gaps_are_differences_of_cells_and_effects_of_the_table():
    (ten,) = [square("1111100000", "1110000000", "1111111110", "1111111000", classes=10)]
    points = scaling.gaps([ten], SAMPLING)
    assert only(points, name="lead").mean == pytest.approx(0.5 - 0.7)
    assert only(points, name="lead").title == "resnet, fine-tuned less convnext, frozen, linear"
    assert only(points, name="resnet.frozen").mean == pytest.approx(0.3 - 0.7)
    assert only(points, name="convnext.finetuned").mean == pytest.approx(0.9 - 0.7)
    assert only(points, name="architecture").mean == pytest.approx(((0.9 - 0.5) + (0.7 - 0.3)) / 2)
    assert only(points, name="finetuning").mean == pytest.approx(((0.9 - 0.7) + (0.5 - 0.3)) / 2)
    assert only(points, name="interaction").mean == pytest.approx((0.9 - 0.7) - (0.5 - 0.3))
    assert all(point.low <= point.mean <= point.high for point in points)


def test_a_gap_is_paired_run_by_run():
    """Seeds that shift both arms alike spread each accuracy, and not the gap."""
    runs = [square(text, text, text, text, seed=seed) for seed, text in enumerate(("1111", "1100", "1000"))]
    lead = only(scaling.gaps(runs, SAMPLING), name="lead")
    assert (lead.mean, lead.sd, lead.low, lead.high) == (0, 0, 0, 0)


def test_without_controls_there_is_the_lead_alone():
    answers = {"resnet.full": "10", "convnext.linear": "11"}
    points = scaling.gaps([run(answers, cells=DIAGONAL)], SAMPLING)
    assert [point.name for point in points] == ["lead"]


def test_runs_whose_cells_hold_other_arms_are_refused():
    other = run(
        {"resnet.full": "11", "convnext.knn": "11"}, seed=1, cells=DIAGONAL | {"convnext.frozen": "convnext.knn"}
    )
    first = run({"resnet.full": "11", "convnext.linear": "11"}, cells=DIAGONAL)
    with pytest.raises(UserError, match=r"convnext\.linear in first-first-k2-seed0, but resnet\.full, convnext\.knn"):
        scaling.gaps([first, other], SAMPLING)


def test_seeds_tested_on_other_images_are_refused():
    runs = [run({"resnet.full": "11"}), run({"resnet.full": "111"}, seed=1)]
    with pytest.raises(UserError, match="tested on different images"):
        scaling.accuracy(runs, SAMPLING)


def test_the_front_holds_what_nothing_beats_at_its_price():
    points = [(0, 0.5), (1, 0.9), (1, 0.8), (2, 0.9), (3, 0.95), (4, 0.2)]
    assert scaling.front(points) == [True, True, False, False, True, False]
    assert scaling.front([(1, 0.9), (1, 0.9)]) == [True, True]


def test_costs_and_accuracies_are_means_over_seeds():
    runs = [
        run({"resnet.full": text, "convnext.linear": "10"}, seed=seed, macs={"resnet.full": macs, "convnext.linear": 5})
        for seed, (text, macs) in enumerate((("11", 10), ("10", 30)))
    ]
    first, second = scaling.compute(runs)
    assert (first["name"], first["accuracy"], first["train_macs"], first["front"]) == ("resnet.full", 0.75, 20, True)
    assert (second["accuracy"], second["train_macs"], second["front"]) == (0.5, 5, True)


def test_the_reports_bars_test_the_base_classes_alone_with_the_untrained_head():
    answers = {"resnet.full": "1000", "convnext.linear": "1111", "convnext.random_head": "0110"}
    runs = [
        run(answers, classes=4, cells=DIAGONAL, labels=[0, 1, 2, 3]),
        run(answers, classes=4, cells=DIAGONAL, series="random", subset="subset_seed 1"),
    ]
    points = scaling.base_classes(runs, SAMPLING)
    assert [(point.name, point.mean) for point in points] == [("resnet.full", 0.5), ("convnext.random_head", 0.5)]


def test_what_cannot_be_shown_is_said():
    (text,) = [" ".join(scaling.missing([run({"resnet.full": "1"}, cells=DIAGONAL, series="named", classes=3)]))]
    for part in ("what more classes change; all runs have 3", "spread over seeds at K = 3", "`controls: true`", "bars"):
        assert part in text
    assert scaling.missing([square("1", "1", "1", "1", classes=k, seed=s) for k in (2, 3) for s in (0, 1)]) == []


def test_the_table_shows_accuracies_by_class_count_and_the_lead():
    runs = [square("10", "10", "10", text, classes=k) for k, text in ((2, "11"), (3, "10"))]
    text = scaling.render(scaling.accuracy(runs, SAMPLING), scaling.gaps(runs, SAMPLING))
    assert text.splitlines()[0].split() == ["series:", "first", "K", "=", "2", "K", "=", "3"]
    assert "convnext, frozen, linear          1.000          0.500" in text
    assert "K = 2: resnet, fine-tuned less convnext, frozen, linear: -50.00" in text


ALL_ARMS = [f"{role}.{name}" for role in design.ROLES for name in (*design.FINETUNED, *READOUTS)]


def draw(runs):
    """Every picture of these runs by name."""
    result = {
        "accuracy": scaling_figures.accuracy(scaling.accuracy(runs, SAMPLING), "note"),
        "gap": scaling_figures.gap(scaling.gaps(runs, SAMPLING), "note"),
        "compute": scaling_figures.compute(scaling.compute(runs), "note"),
    }
    bars = scaling.base_classes(runs, SAMPLING)
    return result | ({"base_classes": scaling_figures.base_classes(bars, 2, "note")} if bars else {})


def texts(figure: Figure):
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title, *axes.get_xticklabels())]


def test_sixteen_arms_at_five_class_counts_in_two_series_have_panels_and_names():
    counts, rng = (2, 3, 5, 8, 10), np.random.default_rng(0)
    runs = [
        run({arm: "".join(rng.choice(["0", "1"], 20)) for arm in ALL_ARMS}, classes=k, series=series, subset=series)
        for k in counts
        for series in ("first", "random")
    ]
    figures = draw(runs)
    assert len(figures["accuracy"].axes) == 8
    assert "probed" not in " ".join(texts(figures["accuracy"]))
    for name in ("linear", "knn", "centroid", "zero shot", "random head", "full", "head", "lp ft", "chance"):
        assert name in texts(figures["accuracy"])
    assert {"architecture", "finetuning", "interaction"} <= set(texts(figures["gap"]))
    assert "K = 8, the first K classes" in texts(figures["compute"])
    assert len(figures["base_classes"].axes[0].patches) == 6  # ResNet at five K, ConvNeXt at the smallest
    for figure in figures.values():
        figure.savefig(io.BytesIO())


def test_one_run_without_controls_is_drawn_too():
    answers = {"resnet.full": "10", "convnext.linear": "11"}
    for name, figure in draw([run(answers, cells=DIAGONAL)]).items():
        figure.savefig(io.BytesIO())
        assert any(axes.has_data() for axes in figure.axes), name


@pytest.mark.parametrize(
    ("values", "apart"),
    [([0.5, 0.9], [0.5, 0.9]), ([0.5, 0.5], [0.45, 0.55]), ([0.9, 0.5, 0.5, 0.5], [0.9, 0.4, 0.5, 0.6])],
)
def test_names_that_would_overlap_move_apart_around_their_middle(values, apart):
    assert scaling_figures._apart(values, 0.1) == pytest.approx(apart)
