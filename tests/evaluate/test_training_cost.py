"""The cost of a fine-tuned arm includes the search for its learning rate."""

from src.evaluate.finetuned import training_cost
from src.records.finetune import Training
from src.records.tune import SearchSummary

TRAINING = Training(
    **{"best_epoch": 1, "history": [], "val_accuracy": 0.5, "convergence": "settled", "trained_parameters": 7},
    **{"images": 10, "train_seconds": 2.0, "train_images_per_second": 5.0, "train_macs": 300, "peak_memory": 8},
    environment={},
)
SEARCH = SearchSummary(
    **{"configurations": 5, "diverged": 0, "best_trial": 1, "lr": 0.1, "at_edge": False, "val_accuracy": 0.5},
    **{"first_val_accuracy": 0.5, "val_images": 9, "images": 50, "train_macs": 1500, "train_seconds": 10.0},
    trials=[],
)


def test_without_a_search_it_is_that_of_the_training():
    cost = training_cost(TRAINING, None)
    assert (cost["configurations"], cost["train_macs"], cost["train_seconds"]) == (1, 300, 2.0)


def test_every_rate_that_was_tried_is_paid_for():
    cost = training_cost(TRAINING, SEARCH)
    assert (cost["configurations"], cost["train_macs"], cost["train_seconds"]) == (5, 1800, 12.0)
    assert cost["trained_parameters"] == 7
