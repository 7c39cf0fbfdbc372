"""The published values beside our runs: tables, pictures and the page."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.reproduction import __main__ as command
from src.reproduction import about, report, report_figures, report_page
from src.reproduction.prediction import image_variance
from src.reproduction.published import CURVES, published
from src.settings.settings import Settings
from tests.reproduction import toy

RUNS = [toy.run(k) for k in (2, 5, 10)]


def test_every_validation_accuracy_has_a_row_and_all_hold_at_once():
    rows = report.validation_rows(RUNS, published(), 0.95)
    assert [(row.k, row.name) for row in rows] == [(k, f"epoch {epoch}") for k in (2, 5, 10) for epoch in range(1, 6)]
    assert all(row.inside for row in rows)
    for row in rows:
        assert row.all.low < row.one.low < row.all.mean < row.one.high < row.all.high


def test_runs_of_another_recipe_leave_the_published_values_outside():
    rows = report.validation_rows([toy.run(k, shift=-0.15) for k in (2, 5, 10)], published(), 0.95)
    assert not any(row.inside for row in rows)
    assert report.outside(rows)[0] == "2 classes, epoch 1"


def test_accuracies_of_earlier_epochs_have_the_images_variance_of_their_share():
    shared = report.shared_variance(RUNS[2], "val_accuracy")
    means = RUNS[2].curves["val_accuracy"].mean(0)
    assert shared / shared[-1] == pytest.approx(means * (1 - means) / (means[-1] * (1 - means[-1])))
    assert shared[-1] == pytest.approx(image_variance(RUNS[2].right))
    assert 0.5 < shared[-1] * 10_000 / (means[-1] * (1 - means[-1])) < 1
    assert not report.shared_variance(RUNS[2], "train_loss").any()
    assert len(set(report.shared_variance(RUNS[2], "val_loss"))) == 1


def test_the_bars_are_three_networks_and_the_head_of_the_first():
    rows = report.bar_rows(RUNS, published(), 0.95)
    assert [row.name for row in rows] == ["2 classes", "5 classes", "10 classes", "untrained head"]
    assert [row.published for row in rows] == [1950 / 2000, 1823 / 2000, 1752 / 2000, 1055 / 2000]
    assert rows[-1].values == pytest.approx(RUNS[0].head.mean(1))


def test_cross_entropy_is_that_of_the_softmax():
    logits = np.array([[2.0, 0.0], [1000.0, 0.0]], np.float32)
    assert report.cross_entropy(logits, np.array([0, 1])) == pytest.approx([np.log1p(np.exp(-2)), 1000])


def test_heads_that_reach_the_published_bar_are_counted_with_an_interval():
    features, labels = np.random.default_rng(0).normal(1, 1, (200, 8)), np.arange(200) % 2
    heads = report.many_heads(features, labels, 1055, 0.95)
    assert (heads.count, heads.images, heads.needed) == (1000, 200, 106)
    assert heads.share.value == heads.reached / 1000
    assert heads.share.low < heads.share.value < heads.share.high
    assert heads.low < 100 < heads.high


@pytest.mark.parametrize("name", CURVES)
def test_a_figure_has_the_published_values_over_our_lines(name):
    figure = report_figures.curve(name, RUNS, published(), 0.95)
    for axes, run in zip(figure.axes, RUNS, strict=True):
        *ours, theirs = axes.lines
        assert [line.get_ydata().tolist() for line in ours] == run.curves[name].tolist()
        assert list(theirs.get_ydata()) == published().curves[name][run.k]
        assert theirs.get_color() == "black"
        (band,) = axes.collections
        low, high = band.get_datalim(axes.transData).intervaly
        assert low < run.curves[name].mean(0).min() < run.curves[name].mean(0).max() < high


def test_the_bar_chart_has_a_mark_for_each_published_bar():
    rows = report.bar_rows(RUNS, published(), 0.95)
    axes = report_figures.bars(rows, RUNS, 0.95).axes[0]
    black = [line.get_ydata()[0] for line in axes.lines if line.get_color() == "black"]
    assert black == [row.published for row in rows]


def text(runs):
    theirs = published()
    rows, bars = report.validation_rows(runs, theirs, 0.95), report.bar_rows(runs, theirs, 0.95)
    heads = report.many_heads(np.random.default_rng(0).normal(1, 1, (2000, 8)), np.arange(2000) % 2, theirs.head, 0.95)
    return report_page.page(runs, rows, bars, heads, theirs, 0.95)


def test_the_page_says_what_was_run_and_what_is_inside():
    page = " ".join(text(RUNS).split())
    assert "15 of 15 published validation accuracies lie inside the band of our runs" in page
    assert "4 of 4 published bars" in page
    assert page.count("| inside |") == 19
    assert "5 seeds (0, 1, 2, 3, 4)" in page
    assert "Toy CPU (cpu, 1 thread, fp32, torch 2.0)" in page
    assert "report --from k02-toy k05-toy k10-toy" in page
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "bars"):
        assert f"(images/report_{name}.png)" in page
    outside = " ".join(text([toy.run(k, shift=-0.15) for k in (2, 5, 10)]).split())
    assert "0 of 15 published validation accuracies" in outside
    assert "| **outside** |" in outside


def test_other_weights_and_another_network_are_named_in_the_sentence_of_the_arms():
    assert about.arms(Settings()).count("not ") == 0
    version = Settings.model_validate({"resnet": {"weights": "IMAGENET1K_V1"}})
    assert "`resnet18` with torchvision's weights IMAGENET1K_V1;" in about.arms(version)
    settings = Settings.model_validate(
        {"resnet": {"weights": "/somewhere/r18.safetensors"}, "convnext": {"arch": "efficientnet_lite2"}}
    )
    (sentence,) = about.arms(settings).splitlines()
    assert "`resnet18` with the weights `r18.safetensors`, not torchvision's ImageNet weights" in sentence
    assert "`efficientnet_lite2`, not ConvNeXt-Tiny as in the report, with the ImageNet weights of its" in sentence
    assert "somewhere" not in sentence


def test_a_page_shows_no_path_of_this_machine():
    assert about.shown("folder=/home/someone/images") == "folder=path/to/images"
    assert about.shown("finetune.lr=0.1") == "finetune.lr=0.1"


def test_runs_that_do_not_belong_together_are_one_line():
    with pytest.raises(UserError, match=r"k02-toy: 2 classes; give one experiment for each of 2, 5, 10"):
        command.require_published([RUNS[0], RUNS[0]])
    with pytest.raises(UserError, match="differ in more than classes and seeds"):
        command.require_published([RUNS[0], toy.run(5, image_size=96)])
    command.require_published(RUNS)


def test_runs_of_different_numbers_of_seeds_belong_together_and_the_page_names_each():
    runs = [RUNS[0], toy.run(5, seeds=3)]
    command.require_published(runs)
    page = " ".join(text(runs).split())
    assert "5 seeds (0, 1, 2, 3, 4) at 2 classes; 3 seeds (0, 1, 2) at 5 classes" in page


def test_a_class_count_that_the_report_does_not_have_is_one_line():
    with pytest.raises(UserError, match="--classes 3: the report has 2, 5, 10 classes"):
        command.report_main(["--classes", "3"])
