"""Arms: their cells, display names and titles."""

import pytest

from src.core import design
from src.readouts.config import READOUTS

ALL = [f"{role}.{name}" for role in design.ROLES for name in (*design.FINETUNED, *READOUTS)]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("resnet.full", "resnet.finetuned"),
        ("convnext.lp_ft", "convnext.finetuned"),
        ("convnext.linear", "convnext.frozen"),
        ("resnet.random_head", "resnet.frozen"),
    ],
)
def test_an_arm_belongs_to_the_cell_of_its_backbone_and_adaptation(name, cell):
    assert design.cell(name) == cell


def test_all_arms_are_in_the_cells_of_the_table():
    assert {design.cell(name) for name in ALL} == set(design.CELLS)
    first, second = (cell.split(".") for cell in design.QUESTION)
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_titles_differ_even_if_both_backbones_are_the_same():
    for archs in ({"resnet": "resnet18", "convnext": "convnext_tiny"}, {"resnet": "swin_t", "convnext": "swin_t"}):
        called = design.display_names(archs)
        titles = {design.title(name, called[design.split(name)[0]]) for name in ALL}
        assert len(titles) == len(ALL)


def test_titles_are_words_for_people():
    assert design.title("resnet.full", "resnet18") == "resnet18, fine-tuned"
    assert design.title("convnext.zero_shot", "convnext_tiny") == "convnext_tiny, frozen, zero shot"
    assert design.display_names({"resnet": "swin_t", "convnext": "swin_t"})["convnext"] == "swin_t (convnext)"
