"""Pictures of several arms: every number that goes in is drawn where it belongs, and no text covers another."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from src.compare import figures, results
from src.compare.config import Compare
from src.core import design
from src.core.records import Interval
from src.readouts.config import READOUTS
from src.stats import calibration, contrasts
from src.stats.contrasts import Answers
from src.storage import files
from tests.helpers.toy_records import contrast, evaluation

CLASSES = ["cat", "dog", "frog"]
ARMS = {"fine-tuned": Interval(0.9, 0.85, 0.93), "frozen": Interval(0.5, 0.4, 0.6)}
COLOURS = ["#0072B2", "#E69F00"]


def render(figure: Figure) -> bytes:
    """The PNG; whatever cannot be drawn is noticed here at the latest."""
    file = BytesIO()
    figure.savefig(file, dpi=50)
    return file.getvalue()


def names(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def whiskers(axes: Axes) -> list[list[float]]:
    segments = [bars.lines[2][0].get_segments() for bars in axes.containers if hasattr(bars, "lines")]
    return [list(part[0][:, 0]) for part in segments]


def require_legible(figure: Figure) -> None:
    """No text covers another or leaves the picture."""
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        shown = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis, place in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            ticks = [label for label in axis.get_ticklabels() if low <= label.get_position()[place] <= high]
            shown += [label for label in ticks if label.get_visible()]
        boxes += [(text.get_text(), text.get_window_extent()) for text in shown if text.get_text().strip()]
    boxes += [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    boxes += [(text.get_text(), text.get_window_extent()) for text in legends]
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (first, one), (second, other) in combinations(boxes, 2):
        overlap = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(overlap) <= 1, f"{first!r} and {second!r} overlap"


def test_every_arm_has_a_bar_with_its_interval_name_and_colour():
    (axes,) = figures.accuracies(ARMS, "title", 0.1, COLOURS).axes
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.5]
    np.testing.assert_allclose(whiskers(axes), [[0.85, 0.93], [0.4, 0.6]])
    assert names(axes) == list(ARMS)
    assert [text.get_text() for text in axes.texts][:2] == ["90.0%", "50.0%"]
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()


def test_the_first_arm_stands_on_top():
    (axes,) = figures.accuracies(ARMS, "title", 0.1, COLOURS).axes
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert top < axes.patches[0].get_y() < axes.patches[1].get_y() < bottom


def test_chance_has_a_line():
    (axes,) = figures.accuracies(ARMS, "title", 0.1, COLOURS).axes
    (line,) = [line for line in axes.lines if set(line.get_xdata()) == {0.1}]
    assert line.get_linestyle() == ":"


@pytest.mark.parametrize("right", [0, 1])
def test_all_or_nothing_right_can_be_drawn(right):
    """The interval's end is the value itself then, and a whisker may not have a negative length."""
    for n in (2, 10, 359, 10_000):
        answers = [Answers("0", np.arange(n), {"arm": np.full(n, right)})]
        result = contrasts.accuracy(answers, "arm", 0.95).interval
        assert result.value == right
        assert render(figures.accuracies({"arm": result}, "title", 0.5, COLOURS[:1]))


def test_both_tests_on_the_base_classes_have_their_own_chance():
    told = {name: Interval(value.value + 0.05, value.low, 1.0) for name, value in ARMS.items()}
    figure = figures.base_classes(ARMS, told, "title", base=2, classes=5, colours=COLOURS)
    full, restricted = figure.axes
    assert [bar.get_width() for bar in full.patches] == [0.9, 0.5]
    assert [bar.get_width() for bar in restricted.patches] == pytest.approx([0.95, 0.55])
    assert "all 5 outputs" in full.get_title()
    assert "only these 2 outputs" in restricted.get_title()
    for axes, chance in ((full, 0.2), (restricted, 0.5)):
        assert {chance} in [set(line.get_xdata()) for line in axes.lines]


def test_every_class_has_a_bar_of_each_arm_side_by_side():
    recall = {"fine-tuned": np.array([0.1, 0.2, 0.3]), "frozen": np.array([0.4, 0.5, 0.6])}
    figure = figures.per_class(recall, CLASSES, "title", COLOURS)
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert names(figure.axes[0]) == CLASSES
    for label in range(3):
        first, second = bars[label], bars[label + 3]
        assert first.get_y() + first.get_height() == pytest.approx(second.get_y())
        assert second.get_y() == pytest.approx(label)  # they touch at the class's tick
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(recall)


def test_recall_stands_over_the_number_of_training_images_and_a_line_joins_the_means():
    recall = {"fine-tuned": np.array([0.9, 0.3, 0.5]), "frozen": np.array([0.8, 0.7, 0.6])}
    figure = figures.by_frequency(recall, [100, 10, 10], "title", COLOURS)
    (axes,) = figure.axes
    points = [dots.get_offsets().tolist() for dots in axes.collections]
    assert points == [[[100, 0.9], [10, 0.3], [10, 0.5]], [[100, 0.8], [10, 0.7], [10, 0.6]]]
    lines = [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.lines]
    assert lines == [[(10, pytest.approx(0.4)), (100, 0.9)], [(10, pytest.approx(0.65)), (100, 0.8)]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(recall)
    require_legible(figure)


TABLE = {
    "resnet.finetuned": Interval(0.8, 0.7, 0.9),
    "resnet.frozen": Interval(0.4, 0.3, 0.5),
    "convnext.finetuned": Interval(0.9, 0.85, 0.95),
    "convnext.frozen": Interval(0.6, 0.5, 0.7),
}


def test_each_backbone_has_a_line_from_frozen_to_fine_tuned_with_its_intervals():
    names = {"resnet": "resnet18", "convnext": "convnext_tiny"}
    figure = figures.table(TABLE, names, ["frozen", "fine-tuned"], "title")
    (axes,) = figure.axes
    lines = [bars.lines[0] for bars in axes.containers]
    assert [list(line.get_ydata()) for line in lines] == [[0.4, 0.8], [0.6, 0.9]]
    segments = [part[:, 1] for bars in axes.containers for part in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(segments, [[0.3, 0.5], [0.7, 0.9], [0.5, 0.7], [0.85, 0.95]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["frozen", "fine-tuned"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["resnet18", "convnext_tiny"]


def test_the_reliability_diagram_shows_each_filled_bin_before_and_after():
    logits, labels = np.log([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35]]), np.array([0, 1, 0])
    before, after = calibration.reliability(logits, labels, 10), calibration.reliability(logits / 2, labels, 10)
    (axes,) = figures.reliability({"arm": (before, after)}, "title", COLOURS[:1]).axes
    points = [scatter.get_offsets() for scatter in axes.collections]
    np.testing.assert_allclose(points[0], [[0.65, 1], [0.95, 0.5]])
    filled = after.count > 0
    np.testing.assert_allclose(points[1], np.stack([after.confidence[filled], after.accuracy[filled]], axis=1))
    one, two = axes.collections[0].get_sizes()
    assert two > one  # two images, and one
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == [f"before: ECE {before.ece():.3f}", f"after: ECE {after.ece():.3f}"]


EVERY_ARM = [f"{role}.{name}" for role in design.ROLES for name in (*design.FINETUNED, *READOUTS)]


def drawn(chosen: list[str], classes: list[str], seeds: int = 3) -> dict[str, Figure]:
    """Every picture of such arms, of one architecture: the longest names."""
    rng = np.random.default_rng(0)
    labels = np.arange(40 * len(classes)) % len(classes)
    arms = {}
    for place, name in enumerate(chosen):
        logits = rng.normal(size=(seeds, len(labels), len(classes)))
        logits[:, np.arange(len(labels)), labels] += 3 - 0.2 * place
        title = design.title(name, f"efficientnet_lite0 ({design.split(name)[0]})")
        arms[name] = results.Arm(title, logits, labels, np.arange(len(labels)), [evaluation()] * seeds)
    result = results.report(arms, range(seeds), classes, {}, Compare(base_classes=2))
    return figures.all_figures(arms, result)


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("chosen", [EVERY_ARM, ["resnet.full", "convnext.linear"]], ids=["every arm", "two arms"])
def test_no_text_covers_another(chosen, classes):
    result = drawn(chosen, [f"class {label}" for label in range(classes)])
    assert set(result) == {"question", "arms", "base_classes", "per_class", "reliability"} | (
        {"table"} if len(chosen) > 2 else set()
    )
    for figure in result.values():
        require_legible(figure)


def test_pictures_in_detail_show_the_cells_of_the_table_alone():
    result = drawn(EVERY_ARM, CLASSES)
    assert len(result["arms"].axes[0].patches) == len(EVERY_ARM)
    assert len(result["per_class"].legends[0].get_texts()) == 4
    assert len(result["reliability"].axes) == 4
    assert [label.get_text() for label in result["table"].axes[0].get_xticklabels()] == [
        "frozen\n(linear)",
        "fine-tuned\n(full)",
    ]


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_the_question_has_a_dot_for_each_seed_the_mean_with_its_interval_and_the_margin(seeds):
    values = {str(seed): 0.01 * seed for seed in range(seeds)}
    primary = contrast(0.02, 0.03, seeds=values)
    figure = figures.question(primary, 0.01, "title")
    (axes,) = figure.axes
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == pytest.approx([100 * value for value in values.values()])
    (whisker,) = whiskers(axes)
    assert whisker == pytest.approx([-1, 5])
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (-1, 1)
    last = "mean" if seeds > 1 else "over images"
    assert names(axes) == [*(f"seed {seed}" for seed in range(seeds)), last]
    require_legible(figure)


ODD = ["a$b$", "$\\x$", "100 %", "under_score", "<b>", "ß" * 60]


def test_names_of_classes_are_never_taken_for_formulas():
    for figure in drawn(["resnet.full", "convnext.linear"], ODD).values():
        assert render(figure)
    axes = figures.per_class({"arm": np.full(len(ODD), 0.5)}, ODD, "title", COLOURS[:1]).axes[0]
    assert names(axes)[0] == r"a\$b\$"


def test_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn(["resnet.full", "convnext.linear"], CLASSES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("classes", "arms"), [(30, 4), (31, 4), (75, 1), (76, 1), (1000, 4), (1000, 12)])
def test_the_picture_of_classes_is_readable_and_below_4000_pixels_however_many_there_are(tmp_path, classes, arms):
    recall = {f"arm {number}": np.linspace(0, 1, classes) for number in range(arms)}
    named = [f"class {label}" for label in range(classes)]
    drawn = figures.per_class(recall, named, "title", ["C0"] * arms)
    files.write_figure(tmp_path / "per_class.png", drawn)
    assert max(Image.open(tmp_path / "per_class.png").size) < 4000
    assert drawn.get_size_inches()[1] * 150 < 4000  # at full resolution
    if classes == 1000:
        steps = [line.get_ydata() for line in drawn.axes[0].lines]
        assert len(steps) == arms
        np.testing.assert_array_equal(steps[0], np.linspace(0, 1, classes))
    else:
        assert ("class 3" in names(drawn.axes[0])) == (classes * (arms + 1) <= 150)


def test_a_picture_of_many_rows_is_drawn_at_fewer_dots(tmp_path):
    bars = {f"arm {number}": Interval(0.5, 0.4, 0.6) for number in range(100)}
    files.write_figure(tmp_path / "arms.png", figures.accuracies(bars, "title", 0.1, ["C0"] * 100))
    assert max(Image.open(tmp_path / "arms.png").size) < 4000
