"""The table, the metrics and the pictures of a search show the trials that there were."""

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from src.finetune.config import Finetune
from src.tune import results
from src.tune.search import Search, Trial

CONFIG = Finetune(lr=0.001, weight_decay=0.0001, epochs=2)


def trial(number: int, state: str, lr: float, accuracies: list[float], epochs: int) -> Trial:
    reached = max(accuracies, default=None)
    loss = None if reached is None else 2 - reached
    return Trial(
        number, state, {"lr": lr, "weight_decay": lr / 10}, accuracies, reached, loss, 50 * epochs, epochs, 2.5
    )


TRIALS = [
    trial(1, "complete", 0.001, [0.5, 0.6], 2),
    trial(2, "diverged", 0.03, [], 1),
    trial(3, "complete", 0.0003, [0.7, 0.65], 2),
    trial(4, "pruned", 0.002, [0.9], 1),
]
SEARCHES = {
    "resnet": Search("resnet18", CONFIG, TRIALS, 40, 1000),
    "convnext": Search("a $strange$ name", CONFIG, TRIALS[:1] * 3, 40, 1000),
}


def points(figure: Figure) -> list[tuple[float, float]]:
    """All that was scattered, in the order of drawing."""
    drawn = [result for result in figure.axes[0].collections if isinstance(result, PathCollection)]
    return [tuple(map(float, point)) for result in drawn for point in np.asarray(result.get_offsets())]


def test_the_metrics_tell_the_best_the_budget_and_what_was_spent():
    result = results.summary(SEARCHES, {"device": "cpu"})
    assert result.environment == {"device": "cpu"}
    assert result.backbones["resnet"].numbers() == {
        **{"configurations": 4, "complete": 2, "pruned": 1, "diverged": 1},
        **{"best_trial": 3, "lr": 0.0003, "weight_decay": 0.0003 / 10, "val_accuracy": 0.7, "first_val_accuracy": 0.6},
        **{"val_images": 40, "images": 300, "images_cap": 1000, "train_macs": 6, "train_seconds": 10.0},
    }


def test_a_table_has_a_row_for_each_trial_and_leaves_empty_what_there_is_not(tmp_path):
    results.write_plots(tmp_path / "tune", SEARCHES)
    with (tmp_path / "tune/trials_resnet.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete", "diverged", "complete", "pruned"]
    assert [row["val_accuracy"] for row in rows] == ["0.6", "", "0.7", "0.9"]
    assert [float(row["lr"]) for row in rows] == [0.001, 0.03, 0.0003, 0.002]
    assert [row["epochs"] for row in rows] == ["2", "0", "2", "1"]
    assert not [name for name in rows[0] if "second" in name]  # they are another each time, and the file is an output
    assert {path.name for path in Path(tmp_path / "tune").glob("*.png")} == {
        *("history.png", "learning_rate.png", "search.png"),
    }


def test_what_was_not_searched_stands_in_the_table_and_in_no_plane():
    fixed = [Trial(1, "complete", {"lr": 0.001}, [0.5], 0.5, 1.0, 50, 1, 1.0)] * 2
    search = Search("resnet18", CONFIG.model_copy(update={"weight_decay": 0.0}), fixed, 40, 1000)
    assert [row[3] for row in results.rows(search)] == [0.0, 0.0]
    assert set(results.all_figures({"resnet": search})) == {"history", "learning_rate"}


def test_the_history_shows_every_trial_and_the_best_of_those_that_came_to_their_end():
    figure = results.history({"resnet": SEARCHES["resnet"]})
    assert sorted(points(figure)) == [(1, 0.6), (2, 0.0), (3, 0.7), (4, 0.9)]
    (line,) = figure.axes[0].lines
    assert list(line.get_ydata()) == [0.6, 0.6, 0.7, 0.7]


def test_where_the_first_trial_came_to_no_end_the_line_begins_later():
    figure = results.history({"resnet": Search("resnet18", CONFIG, TRIALS[1:], 40, 1000)})
    (line,) = figure.axes[0].lines
    assert np.isnan(line.get_ydata()[0])
    assert list(line.get_ydata()[1:]) == [0.7, 0.7]


def test_accuracies_stand_over_their_rates_with_finetunes_own_marked():
    figure = results.by_rate(SEARCHES)
    assert {(trial.params["lr"], trial.val_accuracy or 0.0) for trial in TRIALS} <= set(points(figure))
    assert figure.axes[0].get_xscale() == "log"
    assert {line.get_xdata()[0] for line in figure.axes[0].lines} == {0.001}


def test_the_ring_is_around_the_best():
    figure = results.plane(SEARCHES)
    (ring,) = figure.axes[0].lines
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == pytest.approx((0.0003, 0.00003))


def test_names_with_dollar_signs_are_no_mathematics(tmp_path):
    figure = results.plane(SEARCHES)
    figure.savefig(tmp_path / "plane.png")
    assert figure.axes[1].get_title() == r"a \$strange\$ name"
