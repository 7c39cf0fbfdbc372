"""Figures: every number is drawn in its position, and nothing is saved."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure

from src.evaluate import arm
from src.plotting import legend_below

CLASSES = ["cat", "dog", "frog"]


def render(figure: Figure) -> bytes:
    """The PNG; whatever cannot be drawn is noticed here at the latest."""
    file = BytesIO()
    figure.savefig(file, dpi=50)
    return file.getvalue()


def texts(figure: Figure) -> list[str]:
    (axes, *_) = figure.axes
    return [text.get_text() for text in axes.texts]


def names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


@pytest.fixture
def confusion() -> Figure:
    return arm.confusion(np.array([[8, 2, 0], [0, 3, 1], [0, 0, 0]]), CLASSES, "title")


def test_confusion_shows_the_share_of_each_row(confusion):
    (shown,) = confusion.axes[0].images
    np.testing.assert_allclose(shown.get_array(), [[0.8, 0.2, 0], [0, 0.75, 0.25], [0, 0, 0]])
    assert texts(confusion) == ["80%", "20%", "75%", "25%"]


def test_confusion_has_actual_classes_down_and_predicted_ones_across(confusion):
    axes = confusion.axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("actual", "predicted")
    assert names(confusion) == [label.get_text() for label in axes.get_xticklabels()] == CLASSES


def test_text_is_readable_on_its_cell(confusion):
    colours = {text.get_text(): text.get_color() for text in confusion.axes[0].texts}
    assert colours == {"80%": "white", "75%": "white", "20%": "black", "25%": "black"}


@pytest.mark.parametrize(("classes", "named"), [(20, True), (21, False), (100, False)])
def test_confusion_of_many_classes_is_a_picture_without_names(classes, named):
    figure = arm.confusion(np.eye(classes, dtype=int), [f"class {label}" for label in range(classes)], "title")
    assert bool(texts(figure)) == named
    assert ("class 0" in names(figure)) == named
    assert render(figure)


HISTORY = [
    {"number": 1, "train_loss": 2.0, "train_accuracy": 0.3, "val_loss": 1.5, "val_accuracy": 0.5},
    {"number": 2, "train_loss": 1.0, "train_accuracy": 0.6, "val_loss": 1.2, "val_accuracy": 0.7},
]


def test_curves_show_loss_and_accuracy_of_both_splits_under_every_seed():
    other = [{**epoch, "val_accuracy": 0.1} for epoch in HISTORY]
    loss, accuracy = arm.curves([HISTORY, other], "augmented_test", "title").axes
    drawn = {axes: [list(line.get_ydata()) for line in axes.lines] for axes in (loss, accuracy)}
    assert drawn[loss] == [[2.0, 1.0], [1.5, 1.2]] * 2
    assert drawn[accuracy] == [[0.3, 0.6], [0.5, 0.7], [0.3, 0.6], [0.1, 0.1]]
    assert all(list(line.get_xdata()) == [1, 2] for axes in drawn for line in axes.lines)
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "augmented test images"]


def test_a_single_epoch_can_be_drawn():
    assert render(arm.curves([HISTORY[:1]], "validation", "title"))


ODD = ["a$b$", "$\\x$", "100 %", "under_score", "<b>", "ß" * 60]


def test_names_of_classes_are_never_taken_for_formulas():
    figure = arm.confusion(np.eye(len(ODD), dtype=int), ODD, "title")
    assert render(figure)
    assert names(figure)[0] == r"a\$b\$"
    assert names(figure)[-1] == "ß" * 23 + "…"


@pytest.mark.filterwarnings("error")
def test_signs_that_the_font_lacks_stay_apart():
    """They would all be the same box. Letters that it has are drawn as they are."""
    odd = ["猫", "犬", "👩", "Ω", "kočka", "cat\n", "a\tb"]
    figure = arm.confusion(np.eye(len(odd), dtype=int), odd, "猫 or dog")
    assert render(figure)
    assert names(figure) == [r"\u732b", r"\u72ac", r"\U0001f469", "Ω", "kočka", "cat", "a b"]
    assert figure.axes[0].get_title() == r"\u732b or dog"


@pytest.mark.parametrize("title", ["Trained on 2 classes: $\\x$, dog", "resnet18 (/home/$\\user$/w.pth weights)"])
def test_titles_are_never_taken_for_formulas(title):
    assert render(arm.curves([HISTORY], "validation", title))


def test_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arm.curves([HISTORY], "validation", "title")
    arm.confusion(np.eye(3, dtype=int), CLASSES, "title")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "columns"), [("resnet18", 2), ("efficientnet_lite0: the best is at the edge of the grid", 1)]
)
def test_a_legend_is_never_wider_than_its_figure(name, columns):
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number in range(2):
        axes.plot([0, 1], [number, 1], label=f"{name} {number}")
    legend_below(figure)
    (legend,) = figure.legends
    figure.draw_without_rendering()
    assert legend.get_window_extent().width <= figure.bbox.width
    assert legend._ncols == columns
