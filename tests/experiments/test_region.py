"""Where each side is ahead: words, trends and crossings, also of simulated sweeps whose truth is known."""

import io

import numpy as np
import pytest

from src.experiments import region, scaling
from src.experiments.__main__ import flat_row
from src.experiments.region_figure import region as drawn
from src.experiments.scaling import Level
from tests.helpers.toy_runs import DIAGONAL, LEVEL, run, simulated

SIDES = ("resnet, fine-tuned", "convnext, frozen, linear")


def sweep(leads, *, rng, conditions=(2, 5, 10), **settings):
    """A run for each class count, with its true lead."""
    return [simulated(lead, rng=rng, classes=k, **settings) for k, lead in zip(conditions, leads, strict=True)]


def test_each_condition_has_its_word_and_its_side():
    runs = sweep((0.3, -0.3, 0.0), rng=np.random.default_rng(1), n=400, spread=0.005)
    found = region.places(runs, LEVEL)
    assert [place.word for place in found] == ["ahead", "ahead", "not settled"]
    assert [place.side for place in found] == [*SIDES, None]


def test_sides_that_differ_by_less_than_the_margin_are_equivalent():
    text = "10" * 500
    same = run([{"resnet.full": text, "convnext.linear": text}] * 3, cells=DIAGONAL)
    (place,) = region.places([same], Level(0.95, 0.02))
    assert (place.word, place.side, place.text) == (
        "equivalent within the margin",
        None,
        "equivalent within the margin",
    )
    (narrow,) = region.places([same], Level(0.95, 0.0001))
    assert narrow.word == "not settled"


def test_one_seed_settles_nothing():
    (place,) = region.places([simulated(0.4, rng=np.random.default_rng(0), seeds=1)], LEVEL)
    assert place.word == "not settled"
    assert place.difference.low > 0


def test_p_is_adjusted_for_all_conditions():
    runs = sweep((0.06,) * 3, rng=np.random.default_rng(2), n=500, spread=0.01)
    alone = [region.places([part], LEVEL)[0].p for part in runs]
    together = [place.p_holm for place in region.places(runs, LEVEL)]
    assert min(together) == pytest.approx(3 * min(alone))


def test_lines_lie_along_each_axis_that_varies_and_named_classes_on_none_of_class_counts():
    rng = np.random.default_rng(0)
    runs = [simulated(0, rng=rng, classes=k, shots=shots) for k in (2, 5) for shots in (10, None)]
    assert [line.title() for line in region.lines(runs)] == [
        "along K (first, 10 images of each class, 32 px)",
        "along K (first, all images, 32 px)",
        "along training images of each class (first, K = 2, 32 px)",
        "along training images of each class (first, K = 5, 32 px)",
    ]
    assert list(region.lines(runs)[2].runs) == [10, 100]
    named = [simulated(0, rng=rng, classes=k, series="named", subset=f"{k} names") for k in (2, 3)]
    assert region.lines(named) == []


def test_a_trend_is_the_slope_for_each_doubling():
    texts = {2: ("1111100000", "1111100000"), 4: ("1111111000", "1111100000"), 8: ("1111111110", "1111100000")}
    runs = [
        run([dict(zip(("resnet.full", "convnext.linear"), both, strict=True))] * 2, classes=k, cells=DIAGONAL)
        for k, both in texts.items()
    ]
    (line,) = region.lines(runs)
    trend = region.trend(line, 0.95)
    assert trend.points.value == pytest.approx(0.2)  # 0, 0.2 and 0.4 at log2 K of 1, 2 and 3
    odds = [np.log((x + 0.5) / (10 - x + 0.5)) - np.log(1) for x in (5, 7, 9)]
    assert trend.log_odds.value == pytest.approx((odds[2] - odds[0]) / 2)


def test_a_trend_is_found_where_there_is_one_and_seldom_where_there_is_none():
    rng = np.random.default_rng(3)
    found = {True: 0, False: 0}
    for _ in range(150):
        for rising, leads in ((True, (0.0, 0.08, 0.16)), (False, (0.05,) * 3)):
            (line,) = region.lines(sweep(leads, rng=rng, n=200, spread=0.015))
            found[rising] += region.trend(line, 0.95).points_p < 0.05
    assert found[True] > 75
    assert found[False] <= 14  # of 150 with a chance of 0.05 each: more in 1 of 100 such tests


def test_trends_are_tested_together():
    rng = np.random.default_rng(0)
    runs = [simulated(0.02 * k, rng=rng, classes=k, pixels=pixels) for k in (2, 5, 10) for pixels in (32, 64)]
    lines = region.lines(runs)
    alone = [made for line in lines if (made := region.trend(line, 0.95))]
    both = region.trends(lines, 0.95)
    assert len(both) == 2
    assert min(made.points_p for made in both) == pytest.approx(2 * min(made.points_p for made in alone))


def test_a_trend_needs_two_seeds_that_all_conditions_have():
    rng = np.random.default_rng(0)
    apart = [simulated(0, rng=rng, classes=k, seed=seed) for k, seed in ((2, 0), (5, 10), (10, 20))]
    lines = region.lines(apart)
    assert region.trend(lines[0], 0.95) is None
    assert region.crossings(lines[0], 0.95) == []
    (short,) = region.lines([simulated(0, rng=rng, classes=k) for k in (2, 5)])
    assert region.trend(short, 0.95) is None
    (text,) = region.render_lines(lines, [], [])
    assert text.startswith("Not shown: a trend along K (first, all images, 32 px)")


def test_the_crossing_is_interpolated_on_the_logarithm_of_the_axis():
    runs = [
        run([{"resnet.full": first, "convnext.linear": "1100000000" * 20}] * 3, classes=k, cells=DIAGONAL)
        for k, first in ((2, "1000000000" * 20), (8, "1110000000" * 20))
    ]
    (line,) = region.lines(runs)
    (crossing,) = region.crossings(line, 0.95)
    assert crossing.at == pytest.approx(4)  # -0.1 at 2 and +0.1 at 8
    assert (crossing.before, crossing.after) == SIDES[::-1]
    assert 2 < crossing.low < 4 < crossing.high < 8


def test_a_crossing_that_nothing_bounds_is_open():
    (line,) = region.lines(sweep((0.02, 0.0, -0.01), rng=np.random.default_rng(5), n=100))
    for crossing in region.crossings(line, 0.95):
        assert crossing.low is None or crossing.high is None


def test_the_interval_of_a_crossing_covers_the_truth(monkeypatch):
    """Leads of 0.12 and -0.06 at 2 and 10 classes, 0.03 between on the logarithm: they cross at one known place."""
    monkeypatch.setattr(region, "STEPS", 9)
    rng, truth = np.random.default_rng(7), float(np.exp(np.log(2) + (np.log(10) - np.log(2)) * 0.12 / 0.18))
    covered, runs = 0, 200
    for _ in range(runs):
        leads = [0.12 - 0.18 * np.log(k / 2) / np.log(5) for k in (2, 5, 10)]
        (line,) = region.lines(sweep(leads, rng=rng, n=300, spread=0.02))
        covered += any((c.low or 0) <= truth <= (c.high or np.inf) for c in region.crossings(line, 0.95))
    assert covered >= 0.91 * runs  # nominal 0.95; fewer in 1 of 100 such tests


def test_the_table_names_margin_words_and_adjustment():
    runs = sweep((0.3, -0.3, 0.0), rng=np.random.default_rng(1), n=400, spread=0.005)
    text = region.render(region.places(runs, LEVEL), LEVEL, scaling.question(runs[0]))
    first, head, *rows = text.splitlines()
    assert first == "resnet, fine-tuned less convnext, frozen, linear; margin 1 point, Holm over 3 conditions"
    assert head.split() == ["series", "K", "images", "px", "difference,", "points", "p", "Holm"]
    assert [row.split()[:4] for row in rows] == [["first", str(k), "all", "32"] for k in (2, 5, 10)]
    assert rows[1].endswith("convnext, frozen, linear ahead")


def test_a_row_of_the_table_is_flat():
    runs = sweep((0.1, 0.0, -0.1), rng=np.random.default_rng(0), n=50)
    row = flat_row(region.places(runs, LEVEL)[0])
    assert (row["series"], row["classes"], row["shots"], row["pixels"]) == ("first", 2, None, 32)
    assert {"difference.value", "difference.low", "p", "p_holm", "word", "side"} <= set(row)
    (line,) = region.lines(runs)
    assert {"line", "points.value", "log_odds.high"} <= set(flat_row(region.trend(line, 0.95)))


def test_the_picture_has_a_cell_for_every_condition():
    rng = np.random.default_rng(0)
    runs = [
        simulated(0.1 - 0.02 * k, rng=rng, classes=k, shots=shots, pixels=pixels)
        for k in (2, 5, 10)
        for shots in (10, 100, None)
        for pixels in (32, 64)
    ]
    figure = drawn(region.places(runs, LEVEL), SIDES, "note")
    assert [len(axes.patches) for axes in figure.axes] == [9, 9]
    assert [axes.get_title() for axes in figure.axes] == ["32 px", "64 px"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["10", "100", "all"]
    figure.savefig(io.BytesIO())
