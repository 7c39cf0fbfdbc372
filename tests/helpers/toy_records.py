"""Records of arms that were never run."""

from src.core.records import Interval
from src.records.compare import Contrast, Parts
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


def contrast(value: float = 0.1, half: float = 0.01, word="ahead", p: float = 1e-9, **changes) -> Contrast:
    """ResNet fine-tuned less ConvNeXt frozen, over three seeds, with some fields changed."""
    fields = {
        "title": "this less that",
        "weights": {"resnet.full": 1.0, "convnext.linear": -1.0},
        "difference": Interval(value, value - half, value + half),
        "seeds": {"0": value - 0.02, "1": value, "2": value + 0.02},
        "covers": "seeds and test images",
        "se": half / 2,
        "df": 3.5,
        "parts": Parts(seeds=0.0006, images=0.0003, residual=0.0001),
        "p": p,
        "p_equivalent": 1.0,
        "word": word,
        "detectable": 0.0234,
        "log_odds": Interval(0.32, 0.2, 0.44),
        "log_odds_p": p,
    }
    return Contrast(**fields | changes)
