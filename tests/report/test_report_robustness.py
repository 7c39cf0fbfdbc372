"""The page's section on robustness shows what was measured, escapes it, and is not there without."""

import re

import pytest

from src.report import page, tables
from tests.report.test_page import Experiment, Reader


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


@pytest.fixture(scope="module")
def found() -> dict:
    titles = {"resnet.full": "resnet18, <b>fine-tuned</b>", "convnext.linear": "convnext_tiny, frozen, linear"}
    sizes = (("noise", 0.9), ("pgd_short", 0.6), ("pgd", 0.5), ("worst", 0.5))
    return {
        "n": 1234,
        "severities": [1, 3],
        "corruptions": [
            {
                **{"arm": arm, "title": title, "clean": interval(0.8), "corrupted": interval(0.612)},
                **{"drop": interval(0.188), "families": {"noise": [0.5, 0.3], "blur": [0.7, 0.1]}},
            }
            for arm, title in titles.items()
        ],
        "adversarial": [
            {"arm": "resnet.full", "attack": name, "epsilon": size, "accuracy": interval(value / size)}
            for name, value in sizes
            for size in (1.0, 2.0)
        ],
        "ood": [
            {"arm": arm, "score": score, "against": kind, "auroc": interval(0.777), "fpr95": 0.432, "unknown": 9}
            for arm in titles
            for score in ("msp", "energy", "knn")
            for kind in ("near", "far")
        ],
        "effects": [
            {"measure": "corrupted", "effect": "question", "value": 0.031, "low": -0.01, "high": 0.07},
            {"measure": "corrupted", "effect": "architecture", "value": 0.5, "low": 0.4, "high": 0.6},
        ],
        "sanity": [{"made": 8, "hold": 8, "broken": []}],
        "far": ["digits"],
        "unavailable": [{"what": name, "why": "no <reason>"} for name in ("frost", "resnet.knn")],
    }


def test_means_worst_cases_and_cells_are_those_of_the_metrics(found):
    section = tables.robustness_section(found)
    assert [row["means"] for row in section["corruptions"]] == [pytest.approx([0.4, 0.4])] * 2
    assert (section["attacks"], section["epsilons"], section["against"]) == (["pgd"], [1, 2], ["near", "far"])
    (attacked,) = section["adversarial"]  # of the arm that was
    assert [row["value"] for row in attacked["worst"]] == [0.5, 0.25]
    assert [row["value"] for row in attacked["noise"]] == [0.9, 0.45]
    assert [(cell["against"], cell["score"]) for cell in section["ood"][0]["cells"]] == [
        (kind, score) for kind in ("near", "far") for score in ("msp", "energy", "knn")
    ]
    assert section["unavailable"] == [{"what": "frost, resnet.knn", "why": "no <reason>"}]


def test_the_page_shows_it_escaped_and_only_where_it_was_measured(found):
    experiment = Experiment()
    assert 'id="robustness"' not in experiment.page()
    context = experiment.context() | {"robustness": tables.robustness_section(found)}
    reader = Reader(page.render(context))
    text = re.sub("\\s+", " ", reader.text["robustness"])
    for shown in ("1,234 of the test images", "severity 1, 3", "61.2", "<b>fine-tuned</b>", "+3.10", "no <reason>"):
        assert shown in text, shown
    assert "8 of 8 hold" in text
    assert "+50.00" not in text  # the question alone
    assert not any(attributes.get("href") == "#robustness" for attributes in Reader(experiment.page()).all("a"))
    assert any(attributes.get("href") == "#robustness" for attributes in reader.all("a"))
