"""The ladder's table: its ends are the two protocols, and each rung changes one choice."""

from pathlib import Path

import pytest

from src.reproduction import experiments, rungs
from src.settings import protocols
from src.settings.settings import flat
from src.sweep.__main__ import settings_with

SEEDS = "seeds=[0,1]"


def resolved(*overrides):
    """All settings in the words of params.yaml, apart from the protocol's."""
    return settings_with(overrides).model_copy(update={"protocol": "fair"}).model_dump_json()


def test_the_ends_are_the_two_protocols_to_the_byte():
    steps = rungs.rungs([SEEDS])
    assert resolved(*steps[0].overrides) == resolved("protocol=report", SEEDS)
    assert resolved(*steps[-1].overrides) == resolved("protocol=fair", SEEDS)
    assert steps[-1].overrides == ("protocol=fair", SEEDS)
    assert steps[0].augmented
    assert not any(step.augmented for step in steps[1:])


def test_every_rung_changes_what_its_line_says_and_nothing_else():
    states = [flat(settings_with(step.overrides).model_dump()) for step in rungs.rungs([SEEDS])]
    for before, after, change in zip(states, states[1:], rungs.CHANGES, strict=False):
        assert {name for name in after if after[name] != before[name]} <= set(change.values)
    assert len(states) == len(rungs.CHANGES) + 1


def test_every_setting_in_which_the_protocols_differ_is_changed():
    differing = {name for name, choice in protocols.TABLE.items() if choice.fair != choice.report}
    assert differing <= {name for change in rungs.CHANGES for name in change.values}


def test_each_choice_is_undone_alone_from_fair():
    fair = flat(settings_with(["protocol=fair", SEEDS]).model_dump())
    for pair, change in zip(rungs.undone([SEEDS]), rungs.CHANGES, strict=True):
        state = flat(settings_with(pair.rung.overrides).model_dump())
        differing = {name for name in fair if state[name] != fair[name]}
        assert {"controls"} < differing <= set(change.undone) | {"controls"}
        assert pair.rung.words == change.words
        if change.measure:
            assert (pair.rung.overrides, pair.rung.augmented) == (pair.less.overrides, not pair.less.augmented)


def test_settings_that_are_held_leave_the_ladder_and_stay_on_every_rung():
    held = ["image_size=32", "prepare.per_class=50", "controls=false"]
    steps = rungs.rungs(held)
    assert len(steps) == len(rungs.CHANGES) + 1 - 2
    assert all(step.overrides[-3:] == tuple(held) for step in [*steps, *(pair.rung for pair in rungs.undone(held))])
    assert not any("pixels" in step.words for step in steps)
    assert rungs.beyond([128], held) == []
    settings_with(steps[0].overrides)


def test_larger_images_than_fair_stand_beyond_the_ladder():
    (rung,) = rungs.beyond([32, 64, 128])
    assert settings_with(rung.overrides).image_size == 128
    assert rung.words == "128 instead of 64 pixels"


def test_the_first_rung_shares_its_experiment_with_the_report():
    words = [(f"protocol={word}", SEEDS) for word in ("report", "fair")]
    steps = rungs.rungs([SEEDS])
    assert experiments.shortest(steps[0].overrides, words) == words[0]
    assert experiments.shortest(steps[-1].overrides, words) == words[1]
    assert experiments.shortest(steps[3].overrides, words) == steps[3].overrides
    few = rungs.rungs([SEEDS, "prepare.per_class=50"])[0].overrides  # which protocol=report does not allow
    assert experiments.shortest(few, [("protocol=report", SEEDS, "prepare.per_class=50")]) == few


def test_an_experiment_is_found_by_its_settings_whatever_the_words():
    one = experiments.Experiment("one", settings_with(["protocol=fair", "seeds=[0]"]))
    report = experiments.Experiment("report", settings_with(["protocol=report", SEEDS, "device=cpu"]))
    assert experiments.matching(rungs.rungs([SEEDS])[0].overrides, [one, report]) is report
    assert experiments.matching(rungs.rungs([SEEDS])[-1].overrides, [one, report]) is None


@pytest.fixture(autouse=True)
def _params(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
