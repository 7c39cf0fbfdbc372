"""The settings of the comparison: what is refused, in a line that says what is allowed."""

import pytest
from pydantic import ValidationError

from src.compare.config import Compare, question_fault

CELLS = {"resnet.finetuned": "resnet.full", "convnext.frozen": "convnext.linear"}
ARMS = ["resnet.full", "convnext.linear", "convnext.knn"]


@pytest.mark.parametrize("margin", [0, 1, 1.5, -0.01, float("nan")])
def test_a_margin_is_a_share_between_0_and_1(margin):
    with pytest.raises(ValidationError) as error:
        Compare(margin=margin)
    assert [fault["loc"] for fault in error.value.errors()] == [("margin",)]


@pytest.mark.parametrize(
    ("question", "line"),
    [
        (["resnet.full"], "allowed are two cells or arms"),
        (["resnet.full", "convnext.knn", "resnet.knn"], "allowed are two cells or arms"),
        (["resnet", "convnext"], "allowed are two cells or arms"),
        (["resnet.full", "resnet.full"], "both are the same"),
    ],
)
def test_a_question_has_two_different_arms(question, line):
    with pytest.raises(ValidationError, match=line):
        Compare(question=question)


def test_the_declared_question_is_the_reports():
    assert Compare().question == ["resnet.finetuned", "convnext.frozen"]


@pytest.mark.parametrize(
    ("question", "line"),
    [
        (["resnet.finetuned", "convnext.knn"], None),
        (
            ["resnet.ful", "convnext.knn"],
            "resnet.ful is not run; did you mean resnet.full? allowed: resnet.finetuned, ",
        ),
        (["resnet.finetuned", "convnext.finetuned"], "convnext.finetuned is not run; did you mean "),
        (["resnet.finetuned", "resnet.full"], "both are resnet.full; name two different arms"),
    ],
)
def test_a_question_of_arms_that_are_not_run_is_named(question, line):
    fault = question_fault(question, CELLS, ARMS)
    assert (fault or "").startswith(f"compare.question = [{', '.join(question)}]: {line}" if line else "")
    assert (fault is None) == (line is None)
