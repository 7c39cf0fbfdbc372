"""What metrics, tables, pictures and the page say of robustness is what was planted."""

from dataclasses import replace

import numpy as np
import pytest

from src.core import design
from src.records.robustness import RobustnessResults
from src.report import robustness as page_section
from src.robustness import figures, results
from src.robustness.results import Measured
from src.storage import files

N = 40
ARMS = ("resnet.full", "resnet.linear", "resnet.knn", "convnext.full", "convnext.linear")
TITLES = {name: f"title of {name}" for name in ARMS}
NAMES = ("gaussian_noise", "fog", "saturate")  # the last is none of the fifteen
UNAVAILABLE = {"frost": "no <photographs>", "resnet.knn": "no layer"}
ENVIRONMENT = {"device": "cpu"}


def report(measured: Measured, unavailable=None, question=design.QUESTION) -> RobustnessResults:
    return results.report(measured, unavailable or {}, question, 0.95, ENVIRONMENT)


def first(count: int) -> np.ndarray:
    return np.arange(N) < count


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Of 40 images arm i gets 36 - 3 i right, 10 fewer with noise, 20 fewer in fog, and all of them when saturated."""
    clean = {name: first(36 - 3 * place) for place, name in enumerate(ARMS)}
    rows = {name: [right.sum() - 10, right.sum() - 20, N] for name, right in clean.items()}
    corrupted = {
        name: np.stack([np.stack([first(count), first(count - 2)]) for count in counts])  # severities 1 and 5
        for name, counts in rows.items()
    }
    attacked = {
        name: {
            (attack, size): first(int(clean[name].sum() - lost * size))
            for attack, lost in (("noise", 1), ("pgd_short", 3), ("fgsm", 2), ("pgd", 4))
            for size in (1.0, 2.0)
        }
        for name in ARMS
        if name != "resnet.knn"
    }
    known = np.arange(N) / N
    scores = {"test": known, "near": known + 0.5, "far": known + 2}
    ood_scores = {name: dict.fromkeys(("msp", "energy", "knn"), scores) for name in ARMS}
    return Measured(TITLES, NAMES, [1, 5], clean, corrupted, attacked, ood_scores, "digits")


@pytest.fixture(scope="module")
def result(measured) -> RobustnessResults:
    return report(measured, UNAVAILABLE)


def test_the_record_is_read_as_it_was_written(result, tmp_path):
    files.write_record(tmp_path / "robustness.json", result)
    assert files.read_record(tmp_path / "robustness.json", RobustnessResults) == result


def test_the_mean_is_over_the_fifteen_and_severities(result):
    row = next(row for row in result.corruptions if row.arm == "resnet.full")
    assert row.clean.value == 36 / N
    assert row.corrupted.value == pytest.approx((26 + 24 + 16 + 14) / 4 / N)
    assert row.corrupted.low < row.corrupted.value < row.corrupted.high
    assert row.drop.value == pytest.approx(36 / N - 20 / N)
    assert row.families == {"noise": [26 / N, 24 / N], "weather": [16 / N, 14 / N]}
    assert row.by_severity == pytest.approx([21 / N, 19 / N])
    assert row.by_corruption["saturate"] == pytest.approx((N + N - 2) / 2 / N)


def test_the_worst_of_all_attacks_stands_beside_each(result):
    rows = {(row.arm, row.attack, row.epsilon): row.accuracy.value for row in result.adversarial}
    assert rows["resnet.full", "pgd", 2.0] == rows["resnet.full", "worst", 2.0] == 28 / N
    assert rows["resnet.full", "noise", 2.0] == 34 / N
    assert not any(arm == "resnet.knn" for arm, _, _ in rows)


def test_columns_of_dvc_are_few_and_hold_the_first_epsilon(result):
    numbers = result.numbers()
    assert numbers["resnet"]["full"] == {
        "corrupted": pytest.approx(20 / N),
        "adversarial": 32 / N,
        "near_auroc": pytest.approx(result.ood[0].auroc.value),
        "far_auroc": 1,
    }
    first = {(row.arm.split(".")[0], row.arm.split(".")[1]) for row in result.corruptions}
    assert {(role, arm) for role, arms in numbers.items() for arm in arms} < first
    assert set(numbers["resnet"]) == {"full", "linear"}


def test_effects_of_the_table_are_differences_of_what_was_planted(result):
    effects = {(row.measure, row.effect): row.difference.value for row in result.effects}
    assert effects["clean", "question"] == pytest.approx((36 - 24) / N)
    assert effects["clean", "finetuning"] == pytest.approx(3 / N)
    assert effects["clean", "backbone"] == pytest.approx(-9 / N)
    assert effects["drop", "finetuning"] == pytest.approx(0)
    assert effects["adversarial, 2/255", "question"] == pytest.approx((28 - 16) / N)


def test_the_question_is_the_declared_one_of_cells_or_arms_and_left_out_where_an_arm_is_missing(measured):
    def clean(*question):
        rows = report(measured, question=question).effects
        return {row.effect: row.difference.value for row in rows if row.measure == "clean"}

    assert clean("convnext.finetuned", "resnet.knn")["question"] == pytest.approx((27 - 30) / N)
    assert clean("resnet.full", "convnext.head").keys() == {"backbone", "finetuning", "interaction"}


def test_without_controls_there_is_the_question_alone(measured):
    def kept(parts: dict) -> dict:
        return {name: parts[name] for name in ("resnet.full", "convnext.linear") if name in parts}

    parts = ("clean", "corrupted", "attacked", "ood_scores")
    two = replace(measured, **{part: kept(getattr(measured, part)) for part in parts})
    assert {row.effect for row in report(two).effects} == {"question"}


def test_without_attacks_and_without_unknown_classes_the_rest_is_there(measured):
    noise = {
        arm: {key: value for key, value in part.items() if key[0] == "noise"} for arm, part in measured.attacked.items()
    }
    ood_scores = {
        arm: {score: {kind: kinds[kind] for kind in ("test", "far")} for score, kinds in scores.items()}
        for arm, scores in measured.ood_scores.items()
    }
    result = report(replace(measured, attacked=noise, ood_scores=ood_scores))
    assert {row.against for row in result.ood} == {"far"}
    assert {row.attack for row in result.adversarial} == {"noise"}
    assert not any(row.measure.startswith("adversarial") for row in result.effects)
    assert page_section.section(result).adversarial == []
    assert "checks of the attacks: 0 of 0 hold" in results.render(result)
    assert set(figures.all_figures(result, np.zeros((3, 2, 8, 8, 3), np.uint8), NAMES)) == {
        *("examples", "corruptions", "adversarial", "ood")
    }


def test_a_picture_shows_every_arm_and_epsilon(result):
    drawn = figures.all_figures(result, np.zeros((3, 2, 8, 8, 3), np.uint8), NAMES)
    panels = drawn["adversarial"].axes
    assert [axes.get_title() for axes in panels][:3] == ["random noise, no attack", "FGSM", "PGD"]
    worst = next(axes for axes in panels if axes.get_title() == "the worst of all attacks")
    line = worst.lines[0]
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert line.get_ydata() == pytest.approx([36 / N, 32 / N, 28 / N])
    texts = {text.get_text() for text in drawn["corruptions"].legends[0].get_texts()}
    assert texts == set(TITLES.values())


def test_tables_have_a_row_for_every_number(measured, result):
    tables = results.tables(measured, result, 0.95)
    assert len(tables["corruptions"][1]) == len(ARMS) * 3 * 2
    assert len(tables["adversarial"][1]) == 4 * 5 * 2
    assert len(tables["ood"][1]) == len(ARMS) * 3 * 2
    for columns, rows in tables.values():
        assert {len(row) for row in rows} == {len(columns)}


def test_text_names_an_attack_that_fails(measured):
    attacked = {arm: dict(part) for arm, part in measured.attacked.items()}
    attacked["resnet.full"]["pgd", 2.0] = first(N)
    text = results.render(report(replace(measured, attacked=attacked)))
    assert "resnet.full: pgd at 2/255 does worse than pgd at 1/255" in text
    assert "distrust its numbers" in text


def test_the_page_gives_each_reason_once(result):
    section = page_section.section(result)
    assert section.unavailable == {"no <photographs>": ["frost"], "no layer": ["resnet.knn"]}
    assert section.attacks == ["fgsm", "pgd"]
    assert [row.title for row in section.adversarial] == [TITLES[name] for name in ARMS if name != "resnet.knn"]
    assert [accuracy.value for accuracy in section.adversarial[0].worst] == [32 / N, 28 / N]
    assert section.corruptions[0].means == pytest.approx([25 / N, 15 / N])
    assert all(len(row.cells) == 6 for row in section.ood)
