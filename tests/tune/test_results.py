"""The table and the picture of a search show the trials that there were."""

import csv

from src.records.tune import SearchSummary, Trial
from src.storage import paths
from src.tune import results


def trial(lr: float, accuracies: list[float], *, diverged: bool = False) -> Trial:
    reached = None if diverged else max(accuracies)
    loss = None if reached is None else 2 - reached
    return Trial(
        **{"lr": lr, "diverged": diverged, "accuracies": accuracies, "val_accuracy": reached, "val_loss": loss},
        **{"images": 100, "train_macs": 300, "train_seconds": 2.5},
    )


def summary(trials: list[Trial], best: int, *, at_edge: bool) -> SearchSummary:
    return SearchSummary(
        **{"configurations": len(trials), "diverged": 0, "best_trial": best, "lr": trials[best - 1].lr},
        **{"at_edge": at_edge, "val_accuracy": trials[best - 1].val_accuracy, "first_val_accuracy": 0.6},
        **{"val_images": 1040, "images": 1, "train_macs": 1, "train_seconds": 1.0, "trials": trials},
    )


TRIALS = [trial(0.001, [0.5, 0.6]), trial(0.01, [0.4], diverged=True), trial(0.0001, [0.7, 0.65])]
SEARCHES = {"resnet": summary(TRIALS, 3, at_edge=True), "convnext": summary(TRIALS[:1], 1, at_edge=False)}
NAMES = {"resnet": "resnet18", "convnext": "a $strange$ name"}


def test_a_table_has_a_row_for_each_trial_and_leaves_empty_what_there_is_not(tmp_path):
    results.write_plots(tmp_path / "tune", SEARCHES, NAMES)
    with (tmp_path / "tune/trials_resnet.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["val_accuracy"] for row in rows] == ["0.6", "", "0.7"]
    assert [float(row["lr"]) for row in rows] == [0.001, 0.01, 0.0001]
    assert [row["epochs"] for row in rows] == ["2", "1", "2"]
    assert not [name for name in rows[0] if "second" in name]  # they are another each time, and the file is an output
    assert {path.name for path in paths.pictures(tmp_path / "tune").glob("*.png")} == {"learning_rate.png"}


def test_accuracies_stand_over_their_rates_and_the_chosen_one_has_a_ring():
    axes = results.by_rate({"resnet": SEARCHES["resnet"]}, NAMES).axes[0]
    curve, ring, crosses, published = axes.lines
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([0.0001, 0.001], [0.7, 0.6])
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([0.0001], [0.7])
    assert (list(crosses.get_xdata()), crosses.get_marker()) == ([0.01], "x")
    assert list(published.get_xdata()) == [0.001, 0.001]
    assert axes.get_xscale() == "log"


def test_the_picture_says_which_best_rate_is_at_the_edge():
    labels = list(results.by_rate(SEARCHES, NAMES).axes[0].get_legend_handles_labels()[1])
    assert labels == [
        *("resnet18: the best is at the edge of the grid", "resnet18: the loss was no number", r"a \$strange\$ name"),
    ]
