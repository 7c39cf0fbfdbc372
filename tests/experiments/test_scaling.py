"""Tables over class counts, from runs small enough to be counted by hand, and their pictures."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from src.core import design
from src.core.errors import UserError
from src.experiments import scaling, scaling_figures
from src.readouts.config import READOUTS
from tests.helpers.toy_runs import DIAGONAL, LEVEL, run, simulated, square


def only(points, **fields):
    (result,) = [point for point in points if all(getattr(point, name) == value for name, value in fields.items())]
    return result


def test_a_point_is_the_mean_over_seeds_with_their_standard_deviation():
    runs = [run({"resnet.full": text}, seed=seed) for seed, text in enumerate(("1110", "1100", "1000"))]
    (point,) = scaling.accuracy(runs, LEVEL.confidence)
    assert (point.mean, point.sd) == (0.5, 0.25)  # of 0.75, 0.5 and 0.25
    assert (point.seeds, point.subsets, point.runs, point.covers) == (3, 1, 3, "seeds and images")
    assert point.low < 0.5 < point.high


def test_a_single_run_has_no_spread_and_an_interval_over_images():
    (point,) = scaling.accuracy([run({"resnet.full": "1" * 60 + "0" * 40})], LEVEL.confidence)
    assert point.sd is None
    assert point.covers == "images"
    assert 0.48 < point.low < 0.52  # 0.6 less 1.96 standard errors of 0.049
    assert 0.68 < point.high < 0.72


def test_subsets_weigh_the_same_however_many_seeds_each_has():
    ones, twos = ("1111", "1111", "1111"), ("0000",)
    runs = [
        run({"resnet.full": text}, seed=seed, series="random", subset=f"subset_seed {subset}", index=index)
        for subset, (texts, index) in enumerate(((ones, [0, 1, 2, 3]), (twos, [2, 3, 4, 5])))
        for seed, text in enumerate(texts)
    ]
    (point,) = scaling.accuracy(runs, LEVEL.confidence)
    assert point.mean == 0.5
    assert point.sd == pytest.approx(0.5)  # of 1, 1, 1, 0
    assert (point.seeds, point.subsets, point.runs, point.covers) == (3, 2, 4, "subsets and images")
    assert (point.low, point.high) == (0, 1)  # two subsets say little


def test_the_first_classes_and_random_ones_are_never_in_one_point():
    runs = [run({"resnet.full": "11"}), run({"resnet.full": "00"}, series="random", subset="subset_seed 1")]
    points = scaling.accuracy(runs, LEVEL.confidence)
    assert {(point.series, point.mean) for point in points} == {("first", 1.0), ("random", 0.0)}


def test_an_arm_that_some_runs_lack_is_averaged_over_those_that_have_it():
    runs = [run({"resnet.full": "11", "resnet.knn": "10"}), run({"resnet.full": "00"}, seed=1)]
    points = scaling.accuracy(runs, LEVEL.confidence)
    assert (only(points, name="resnet.full").mean, only(points, name="resnet.full").runs) == (0.5, 2)
    assert (only(points, name="resnet.knn").mean, only(points, name="resnet.knn").runs) == (0.5, 1)


def test_gaps_are_differences_of_cells_and_effects_of_the_table():
    (ten,) = [square("1111100000", "1110000000", "1111111110", "1111111000", classes=10)]
    points = scaling.gaps([ten], LEVEL.confidence)
    assert only(points, name="lead").mean == pytest.approx(0.5 - 0.7)
    assert only(points, name="lead").title == "resnet, fine-tuned less convnext, frozen, linear"
    assert only(points, name="resnet.frozen").mean == pytest.approx(0.3 - 0.7)
    assert only(points, name="convnext.finetuned").mean == pytest.approx(0.9 - 0.7)
    assert only(points, name="backbone").mean == pytest.approx(((0.9 - 0.5) + (0.7 - 0.3)) / 2)
    assert only(points, name="finetuning").mean == pytest.approx(((0.9 - 0.7) + (0.5 - 0.3)) / 2)
    assert only(points, name="interaction").mean == pytest.approx((0.9 - 0.7) - (0.5 - 0.3))
    assert all(point.low <= point.mean <= point.high for point in points)


def test_a_gap_is_paired_run_by_run():
    """Seeds that shift both arms alike spread each accuracy, and not the gap."""
    texts = ("1111" * 25, "1100" * 25, "1000" * 25)
    runs = [square(text, text, text, text, seed=seed) for seed, text in enumerate(texts)]
    lead = only(scaling.gaps(runs, LEVEL.confidence), name="lead")
    assert (lead.mean, lead.sd, lead.log_odds) == (0, 0, 0)
    assert -0.05 < lead.low < 0 < lead.high < 0.05
    accuracy = only(scaling.accuracy(runs, LEVEL.confidence), name="resnet.full")
    assert accuracy.high - accuracy.low > 0.5


def test_without_controls_there_is_the_lead_alone():
    answers = {"resnet.full": "10", "convnext.linear": "11"}
    points = scaling.gaps([run(answers, cells=DIAGONAL)], LEVEL.confidence)
    assert [point.name for point in points] == ["lead"]


def test_runs_whose_cells_hold_other_arms_are_refused():
    other = run(
        {"resnet.full": "11", "convnext.knn": "11"}, seed=1, cells=DIAGONAL | {"convnext.frozen": "convnext.knn"}
    )
    first = run({"resnet.full": "11", "convnext.linear": "11"}, cells=DIAGONAL)
    with pytest.raises(UserError, match=r"convnext\.linear in first-first-k2-seed0, but resnet\.full, convnext\.knn"):
        scaling.gaps([first, other], LEVEL.confidence)


def test_seeds_tested_on_other_images_are_refused():
    runs = [run({"resnet.full": "11"}), run({"resnet.full": "111"}, seed=1)]
    with pytest.raises(UserError, match="tested on different images"):
        scaling.accuracy(runs, LEVEL.confidence)


def test_log_odds_stand_beside_every_share():
    points = scaling.accuracy([run({"resnet.full": "1" * 75 + "0" * 25})], LEVEL.confidence)
    assert points[0].log_odds == pytest.approx(np.log(75.5 / 25.5))
    answers = {"resnet.full": "1" * 75 + "0" * 25, "convnext.linear": "10" * 50}
    lead = only(scaling.gaps([run(answers, cells=DIAGONAL)], LEVEL.confidence), name="lead")
    assert lead.log_odds == pytest.approx(np.log(75.5 / 25.5))
    assert lead.log_odds_low < lead.log_odds < lead.log_odds_high


def test_random_subsets_of_all_classes_are_refused():
    runs = [run({"resnet.full": "10"}, series="random", subset=f"subset_seed {seed}") for seed in (0, 1)]
    with pytest.raises(UserError, match="these subsets hold the same classes"):
        scaling.accuracy(runs, LEVEL.confidence)


def test_an_interval_over_seeds_and_images_covers_a_random_head_as_others():
    """Seeds that differ far more than images do: three of them bound little, and the interval says so."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        (point,) = [
            point
            for point in scaling.accuracy([simulated(0, rng=rng, spread=0.1, level=0.5)], LEVEL.confidence)
            if point.name == "resnet.full"
        ]
        covered += point.low <= 0.5 <= point.high
    assert covered >= 0.90 * 200


def test_the_front_holds_what_no_arm_is_ahead_of_at_its_price():
    costs = {"cheap": 1, "same": 1, "dear": 2, "free": 0}
    assert scaling.front(costs, {("same", "cheap"), ("dear", "same")}) == {"same", "dear", "free"}
    assert scaling.front(costs, {("free", "dear"), ("free", "cheap"), ("free", "same")}) == {"free"}
    assert scaling.front(costs, set()) == set(costs)


def test_an_arm_is_off_the_front_only_where_a_cheaper_one_is_ahead_by_its_interval():
    macs = {"resnet.full": 10, "convnext.linear": 5}
    near = {"resnet.full": "1010101010", "convnext.linear": "1010101011"}
    far = {"resnet.full": "10" * 50, "convnext.linear": "11" * 50}
    for answers, on in ((near, [True, True]), (far, [False, True])):
        rows = scaling.compute([run([answers] * 3, macs=macs, cells=DIAGONAL)], LEVEL.confidence)
        assert [row["front"] for row in rows] == on


def test_costs_and_accuracies_are_means_over_seeds():
    runs = [
        run({"resnet.full": text, "convnext.linear": "10"}, seed=seed, macs={"resnet.full": macs, "convnext.linear": 5})
        for seed, (text, macs) in enumerate((("11", 10), ("10", 30)))
    ]
    first, second = scaling.compute(runs, LEVEL.confidence)
    assert (first["name"], first["accuracy"], first["train_macs"]) == ("resnet.full", 0.75, 20)
    assert (second["accuracy"], second["val_accuracy"], second["train_macs"]) == (0.5, 0.5, 5)


def test_the_reports_bars_test_the_base_classes_alone_with_the_untrained_head():
    answers = {"resnet.full": "1000", "convnext.linear": "1111", "convnext.random_head": "0110"}
    runs = [
        run(answers, classes=4, cells=DIAGONAL, labels=[0, 1, 2, 3]),
        run(answers, classes=4, cells=DIAGONAL, series="random", subset="subset_seed 1"),
    ]
    points = scaling.base_classes(runs, LEVEL.confidence)
    assert [(point.name, point.mean) for point in points] == [("resnet.full", 0.5), ("convnext.random_head", 0.5)]


def test_what_cannot_be_shown_is_said():
    alone = run({"resnet.full": "1", "convnext.linear": "1"}, cells=DIAGONAL, series="named", classes=3)
    text = " ".join(scaling.missing([alone]))
    for part in (
        "what more classes, images or pixels change; all runs have K = 3, all images, 32 px",
        "one seed was run (K = 3, all images, 32 px)",
        "which network got more right",
        "`controls: true`",
        "bars",
    ):
        assert part in text
    assert scaling.missing([square("1", "1", "1", "1", classes=k, seed=s) for k in (2, 3) for s in (0, 1)]) == []


def test_the_table_shows_accuracies_by_class_count_and_the_lead():
    runs = [square("10", "10", "10", text, classes=k) for k, text in ((2, "11"), (3, "10"))]
    runs.append(square("10", "10", "10", "10", shots=5))
    text = scaling.render(scaling.accuracy(runs, LEVEL.confidence), scaling.gaps(runs, LEVEL.confidence))
    heads = [line.split() for line in text.splitlines() if line.startswith("series")]
    assert heads == [
        ["series:", "first,", "5", "images,", "32", "px", "K", "=", "2"],
        ["series:", "first,", "all", "images,", "32", "px", "K", "=", "2", "K", "=", "3"],
    ]
    (line,) = [line for line in text.splitlines() if line.startswith("convnext, frozen, linear") and "1.000" in line]
    assert line.split()[-4:] == ["1.000", "(+1.61)", "0.500", "(+0.00)"]
    assert "K = 2: resnet, fine-tuned less convnext, frozen, linear: -50.00" in text
    assert "points; log odds -1.61 [" in text


def test_points_lie_along_an_axis_where_the_others_are_largest():
    rng = np.random.default_rng(0)
    runs = [
        simulated(0, rng=rng, n=50, classes=k, shots=shots, pixels=pixels)
        for k in (2, 5)
        for shots in (10, None)
        for pixels in (32, 64)
    ]
    points = [point for point in scaling.gaps(runs, LEVEL.confidence) if point.name == "lead"]
    assert scaling.varying(points) == ["classes", "shots", "pixels"]
    places = {axis: [tuple(p.condition)[1:] for p in scaling.along(points, axis)] for axis in scaling.AXES}
    assert places == {
        "classes": [(2, None, 64), (5, None, 64)],
        "shots": [(5, 10, 64), (5, None, 64)],
        "pixels": [(5, None, 32), (5, None, 64)],
    }
    assert scaling.varying(points[:1]) == ["classes"]


ALL_ARMS = [f"{role}.{name}" for role in design.ROLES for name in (*design.FINETUNED, *READOUTS)]


def draw(runs, axis="classes"):
    """Every picture of these runs by name."""
    level = LEVEL.confidence
    result = {
        "accuracy": scaling_figures.accuracy(scaling.accuracy(runs, level), axis, "note"),
        "gap": scaling_figures.gap(scaling.gaps(runs, level), axis, "note"),
        "compute": scaling_figures.compute(scaling.compute(runs, level), "note"),
    }
    bars = scaling.base_classes(runs, level)
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
    assert {"backbone", "finetuning", "interaction"} <= set(texts(figures["gap"]))
    assert "K = 8, the first K classes\nall images, 32 px" in texts(figures["compute"])
    assert len(figures["base_classes"].axes[0].patches) == 6  # ResNet at five K, ConvNeXt at the smallest
    for figure in figures.values():
        figure.savefig(io.BytesIO())


def test_lines_along_images_have_a_logarithmic_axis_with_every_place():
    rng = np.random.default_rng(0)
    runs = [simulated(0.1, rng=rng, n=50, shots=shots, images=450) for shots in (10, 100, None)]
    figure = draw(runs, "shots")["gap"]
    (panel,) = figure.axes
    assert panel.get_xscale() == "log"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["10", "100", "450"]
    assert panel.get_xlabel() == "training images of each class (K = 2, 32 px)"
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
