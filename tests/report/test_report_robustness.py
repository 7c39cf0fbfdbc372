"""The page's section on robustness shows what was measured, escapes it, and is not there without."""

import re

import pytest

from src.core.records import Interval
from src.records.robustness import AttackChecks, AttackedArm, CorruptedArm, Effect, OodArm, RobustnessResults
from src.report import robustness
from tests.report.test_page import Experiment, Reader

TITLES = {"resnet.full": "resnet18, <b>fine-tuned</b>", "convnext.linear": "convnext_tiny, frozen, linear"}


def interval(value: float) -> Interval:
    return Interval(value, value - 0.1, value + 0.1)


@pytest.fixture(scope="module")
def result() -> RobustnessResults:
    attacks = (("noise", 0.9), ("pgd_short", 0.6), ("pgd", 0.5), ("worst", 0.5))
    accuracies = {"clean": interval(0.8), "corrupted": interval(0.612), "drop": interval(0.188)}
    parts = {"families": {"noise": [0.5, 0.3], "blur": [0.7, 0.1]}, "by_severity": [], "by_corruption": {}}
    return RobustnessResults(
        n=1234,
        severities=[1, 3],
        corruptions=[CorruptedArm(arm=arm, title=title, **accuracies, **parts) for arm, title in TITLES.items()],
        adversarial=[
            AttackedArm(arm="resnet.full", attack=name, epsilon=size, accuracy=interval(value / size))
            for name, value in attacks
            for size in (1.0, 2.0)
        ],
        ood=[
            OodArm(arm=arm, score=score, against=kind, auroc=interval(0.777), fpr95=0.432, unknown=9)
            for arm in TITLES
            for score in ("msp", "energy", "knn")
            for kind in ("near", "far")
        ],
        effects=[
            Effect(measure="corrupted", effect="question", difference=Interval(0.031, -0.01, 0.07)),
            Effect(measure="corrupted", effect="backbone", difference=Interval(0.5, 0.4, 0.6)),
        ],
        checks=AttackChecks(made=8, hold=8, broken=[]),
        far="digits",
        unavailable=dict.fromkeys(("frost", "resnet.knn"), "no <reason>"),
        environment={},
    )


def test_means_worst_cases_and_cells_are_those_of_the_metrics(result):
    section = robustness.section(result)
    assert [row.means for row in section.corruptions] == [pytest.approx([0.4, 0.4])] * 2
    assert (section.attacks, section.epsilons, section.against) == (["pgd"], [1, 2], ["near", "far"])
    (attacked,) = section.adversarial  # of the arm that was
    assert [accuracy.value for accuracy in attacked.worst] == [0.5, 0.25]
    assert [accuracy.value for accuracy in attacked.noise] == [0.9, 0.45]
    assert [(cell.against, cell.score) for cell in section.ood[0].cells] == [
        (kind, score) for kind in ("near", "far") for score in ("msp", "energy", "knn")
    ]
    assert section.unavailable == {"no <reason>": ["frost", "resnet.knn"]}


def test_the_page_shows_it_escaped_and_only_where_it_was_measured(result):
    experiment = Experiment()
    without = experiment.page()
    assert 'id="robustness"' not in without
    experiment.robustness = result
    reader = Reader(experiment.page())
    text = re.sub("\\s+", " ", reader.text["robustness"])
    for shown in ("1,234 of the test images", "severity 1, 3", "61.2", "<b>fine-tuned</b>", "+3.10", "no <reason>"):
        assert shown in text, shown
    assert "8 of 8 hold" in text
    assert "+50.00" not in text  # the question alone
    assert not any(attributes.get("href") == "#robustness" for attributes in Reader(without).all("a"))
    assert any(attributes.get("href") == "#robustness" for attributes in reader.all("a"))
