"""Steps of the ladder and the sentences that are made from them."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.reproduction import ladder, ladder_figure, ladder_page
from src.reproduction.ladder import Measured
from src.settings.settings import Settings
from tests.reproduction.toy import MACHINE

SEEDS = range(5)
N = 2000


def rung(words, legacy, modern, *, seeds=SEEDS, spread=0.0, index=None):
    """A rung whose arms get these shares right: the first images, and others by seed with a spread."""
    shift = {seed: round(N * spread * (seed - 2)) for seed in seeds}
    first = {seed: (np.arange(N) < round(N * legacy) + shift[seed]).astype(float) for seed in seeds}
    second = {seed: (np.arange(N) < round(N * modern)).astype(float) for seed in seeds}
    return Measured(words, np.arange(N) if index is None else index, first, second)


def found(fair=(0.80, 0.90), *, spread=0.0, undone=(0.80, 0.2)):
    steps = [rung("report", 0.75, 0.1), rung("plain", 0.78, 0.1), rung("head", *fair, spread=spread)]
    pairs = [(rung("plain", 0.79, fair[1]), steps[-1]), (rung("head", *undone), steps[-1])]
    return ladder.ladder(steps, pairs, [rung("128", 0.9, 0.95)], 0.95)


def test_steps_are_differences_of_neighbours_paired_by_image():
    plain, head = found().worths
    assert plain.legacy.value == pytest.approx(0.03)
    assert plain.lead.value == pytest.approx(0.03)
    assert head.lead.value == pytest.approx(-0.78)
    assert plain.undone_legacy is not None
    assert plain.undone_legacy.value == pytest.approx(0.01)  # fair less what is left of it
    assert found().beyond[0].lead.value == pytest.approx(0.05)
    first, last = found().ends("lead")
    assert (first.value, last.value) == pytest.approx((0.65, -0.1))
    assert plain.legacy.high - plain.legacy.low < 0.02  # unpaired it were 0.05


def test_the_steps_add_up_to_the_way():
    result = found()
    first, last = result.ends("lead")
    assert sum(worth.lead.value for worth in result.worths) == pytest.approx(last.value - first.value)


@pytest.mark.parametrize(
    ("fair", "spread", "words"),
    [
        ((0.90, 0.80), 0.0, "conclusion stands once it is fair: under the fair protocol A is ahead of B: +10.0"),
        ((0.80, 0.90), 0.0, "conclusion is reversed once it is fair: under the fair protocol A is behind B: -10.0"),
        ((0.80, 0.80), 0.0, "does not stand once it is fair: under the fair protocol A and B are equivalent"),
        ((0.82, 0.80), 0.03, "conclusion is not settled once it is fair: under the fair protocol A less B is +2.0"),
    ],
)
def test_the_conclusion_follows_from_the_numbers(fair, spread, words):
    sentences = ladder.sentences(found(fair, spread=spread), "A", "B", 0.01)
    assert len(sentences) == 3
    assert words in sentences[0]


def test_what_is_not_settled_is_said_with_what_such_a_run_finds():
    first = ladder.sentences(found((0.82, 0.80), spread=0.03), "A", "B", 0.01)[0]
    assert "which is not settled: such a run finds a difference of" in first


def test_the_choice_that_carried_it_is_the_largest_step_and_what_it_is_worth_alone():
    text = ladder.sentences(found(), "A", "B", 0.01)[1]
    assert "from +65.0 to -10.0 points, the largest step is 'head': -78.0" in text
    assert "with it alone undone from fair, the lead is +60.0 instead of -10.0 points and has the other sign" in text
    same = ladder.sentences(found(undone=(0.80, 0.90)), "A", "B", 0.01)[1]
    assert "undone alone from fair, its worth is not settled" in same


def test_one_seed_against_five_is_told_from_the_same_runs():
    text = ladder.sentences(found((0.82, 0.80), spread=0.03), "A", "B", 0.01)[2]
    assert "a standard deviation of 4.7 points, that of the mean of 5 has 2.1" in text
    assert "another one in 2 of the 5 seeds" in text


def test_one_seed_is_never_ahead():
    one = [rung(words, *shares, seeds=[0]) for words, shares in (("report", (0.9, 0.1)), ("fair", (0.9, 0.5)))]
    text = ladder.sentences(ladder.ladder(one, [(one[0], one[1])], [], 0.95), "A", "B", 0.01)
    assert "By the report's own protocol the legacy arm is not shown ahead here" in text[0]
    assert "which is not settled" in text[0]
    assert "not known, and needs --seeds" in text[2]


def test_rungs_of_other_images_or_seeds_are_refused():
    for other in (rung("b", 0.8, 0.8, index=np.arange(N) + 1), rung("b", 0.8, 0.8, seeds=[0, 1])):
        with pytest.raises(UserError, match="'a' and 'b' have different test images or seeds"):
            ladder.less(rung("a", 0.9, 0.9), other, "lead", 0.95)


def test_the_waterfall_has_a_bar_for_every_rung_that_begins_where_the_last_one_ended():
    figure = ladder_figure.waterfall(found(), "resnet18", "lite", "note")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["report", "plain", "head", "fair", "fair, 128"]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in right.patches]
    ends = [(0, 65), (65, 68), (68, -10), (0, -10), (-10, -5)]
    assert [sorted(bar) for bar in bars] == [pytest.approx(sorted(end)) for end in ends]


def test_the_page_has_a_row_for_every_choice_and_the_command_that_draws_it_again():
    overrides = {"compare": {"margin": 0.01}, "seeds": [0, 1, 2, 3, 4], "classes": 2}
    common = ["classes=[cat,dog]", "folder=/home/someone/images"]
    text = ladder_page.page(
        found(),
        Settings.model_validate(overrides),
        [MACHINE] * 2,
        rests={"a": 52, "plain": 2, "head": 0},
        common=common,
        names="a b",
    )
    assert "incomplete batch on some rungs: 52 at 'a', 2 at 'plain'. It" in text.replace("\n", " ")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| the report's protocol",
        "| plain",
        "| head",
        "| the fair protocol",
        "| beyond fair: 128",
    ]
    assert "| head | +2.0 [" in rows[2]
    assert "ladder --seeds 0 1 2 3 4 -S 'classes=[cat,dog]' -S folder=path/to/images --from a b" in text
    assert text.count("Toy CPU") == 1
    assert sum(line.startswith("- ") for line in text.splitlines()) == 3
