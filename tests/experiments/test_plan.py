"""How many seeds and test images a margin takes: worked by hand, and simulated."""

import numpy as np
import pytest
from scipy import stats

from src.core.errors import UserError
from src.experiments import plan
from src.records.compare import BaseClasses, Comparison, Contrast, Parts
from src.stats import crossed
from src.storage import files, paths
from tests.helpers.toy_records import contrast

PARTS = Parts(seeds=1e-4, images=2e-5, residual=3e-5)  # of one run on 5,000 images


def compared(primary: Contrast, seeds: int = 3) -> Comparison:
    return Comparison(
        n=5000,
        classes=["cat", "dog"],
        seeds=list(range(seeds)),
        confidence=0.95,
        margin=0.01,
        arms=[],
        cells={},
        best=None,
        primary=primary,
        pairs=[],
        base_classes=BaseClasses(count=2, arms=[]),
    )


PILOT = compared(contrast(parts=PARTS))


def test_more_images_make_their_parts_smaller_and_leave_that_of_the_seeds():
    part = plan.parts(PILOT, 20_000)
    assert (part.rows, part.images, part.residual) == pytest.approx((1e-4, 5e-6, 7.5e-6))


def test_the_plan_of_the_pilots_own_size_is_what_crossed_says_of_it():
    se, df = crossed.standard_error(plan.parts(PILOT, 5000), 4)
    assert se == pytest.approx((13e-5 / 4 + 2e-5) ** 0.5)
    expected = crossed.detectable(se, df, confidence=0.95, power=0.8)
    assert plan.detectable(plan.parts(PILOT, 5000), 4, 0.95, 0.8) == expected


def test_needed_seeds_are_the_fewest():
    find, same = plan.needed(PILOT, 20_000, 0.015, 0.8)
    part = plan.parts(PILOT, 20_000)
    assert plan.detectable(part, find, 0.95, 0.8) <= 0.015 < plan.detectable(part, find - 1, 0.95, 0.8)
    assert plan.equivalence(part, same, 0.95, 0.8) <= 0.015 < plan.equivalence(part, same - 1, 0.95, 0.8)


def test_images_alone_may_never_be_enough():
    """With 5,000 images their part alone has a standard error of 0.45 points: no number of seeds finds 0.1."""
    assert plan.needed(PILOT, 5000, 0.001, 0.8) == (None, None)
    assert "more than 1,000 seeds to find a difference of 0.1 points" in plan.render(PILOT, 0.001, 0.8)


def test_a_plan_keeps_its_promise():
    """Runs of normal values as planned: the margin is found in 80 of 100, and equal arms are equivalent as often.

    6,000 runs: the standard deviation of a share of 0.8 is 0.005. The variance is known better in fewer seeds than a
    normal image part suggests, so that a little more is found.
    """
    rng, runs = np.random.default_rng(0), 6000
    find, same = plan.needed(PILOT, 20_000, 0.015, 0.8)
    part = plan.parts(PILOT, 20_000)
    for seeds, truth, power in ((find, 0.015, 0.8), (same, 0.0, 0.8)):
        by_seed = rng.normal(size=(runs, seeds)) * (part.rows + part.residual) ** 0.5
        mean = truth + by_seed.mean(1) + rng.normal(size=runs) * part.images**0.5
        between = by_seed.var(1, ddof=1)
        estimated = crossed.Parts.estimated(between, part.images + part.residual, part.images, part.n)
        se, df = crossed.standard_error(estimated, seeds)
        found = (
            np.abs(mean) > stats.t.ppf(0.975, df) * se if truth else stats.t.sf((0.015 - np.abs(mean)) / se, df) < 0.05
        )
        assert power - 0.02 <= np.mean(found) <= power + 0.1


def test_the_table_marks_what_is_within_the_margin():
    lines = plan.render(PILOT, 0.01, 0.8).splitlines()
    assert lines[0] == "this less that, from a pilot of 3 seeds and 5,000 test images"
    assert lines[3].split() == "seeds 2,500 images 5,000 images 10,000 images 25,000 images".split()
    rows = [line.split() for line in lines[4 : 4 + len(plan.SEEDS)]]
    assert [int(row[0]) for row in rows] == list(plan.SEEDS)
    for row in rows:
        for cell in row[1:]:
            assert cell.endswith("*") == (float(cell.rstrip("*")) <= 1)
    assert "seeds to find a difference of 1 points" in lines[-2]
    assert lines[-1].startswith("The pilot has few seeds")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [],
            r"^data/results/compare\.json is missing, and no experiment is named: `dvc pull` brings it",
        ),
        (["--margin", "0"], r"^--margin 0: allowed is a number > 0 and < 1"),
        (["--margin", "2"], r"^--margin 2: allowed"),
        (["--power", "1"], r"^--power 1: allowed"),
    ],
)
def test_a_mistake_is_one_line(words, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if words:
        files.write_record(paths.record("compare"), PILOT)
    with pytest.raises(UserError, match=line):
        plan.main(words)


def test_a_pilot_of_one_seed_cannot_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = contrast(parts=Parts(seeds=None, images=1e-4, residual=None), covers="test images", word="not settled")
    files.write_record(paths.record("compare"), compared(alone, seeds=1))
    with pytest.raises(UserError, match=r"^the pilot has the seed 0 alone, which does not tell how much seeds differ"):
        plan.main([])


def test_the_workspaces_comparison_is_the_pilot(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files.write_record(paths.record("compare"), PILOT)
    plan.main(["--margin", "0.02"])
    assert "at most the margin of 2" in capsys.readouterr().out
