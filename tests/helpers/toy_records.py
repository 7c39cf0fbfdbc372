"""Records of arms that were never run."""

from src.records.evaluate import CalibratedScores, ClassScores, Evaluation

COST = {
    "parameters": 1,
    "trained_parameters": 2,
    "macs": 3,
    "train_macs": 4,
    "train_seconds": 5.0,
    "images_per_second": 6.0,
    "peak_memory": 7,
}


def evaluation(**changes) -> Evaluation:
    """An arm's evaluation with some fields changed."""
    scores = {"accuracy": 0.5, "n": 60, "macro_f1": 0.5, "val_accuracy": 0.5, "nll": 1.0, "brier": 0.5, "ece": 0.1}
    tables = {
        "calibrated": CalibratedScores(temperature=2.0, nll=1.0, brier=0.5, ece=0.1),
        "per_class": [ClassScores(name="cat", precision=0.5, recall=0.5, f1=0.5, n=60)],
        "confusion": [[60]],
    }
    fields = {**scores, **tables, **COST, "seconds": 1.0, "environment": {"device": "cpu"}}
    return Evaluation(**fields | changes)
