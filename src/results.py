"""One arm's logits -> its predictions, tables and pictures on disk, and its part of the metrics. For `eval_*`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src import calibration, files, metrics, plots


@dataclass(frozen=True)
class Answers:
    """An arm's logits of the test images (N, K), their labels (N,) and positions in the raw array (N,); and of the
    validation images the logits (n, K) and labels (n,)."""

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    val_logits: np.ndarray
    val_labels: np.ndarray


def write_arm(
    predictions: Path, drawings: Path, name: str, title: str, answers: Answers, classes: list[str]
) -> dict[str, Any]:
    """Save what compare and DVC's plots need of one arm.

    Args:
        predictions: the folder that gets <name>.npz.
        drawings: the folder that gets confusion/<name>.csv, per_class/<name>.csv and pictures/confusion_<name>.png.

    Returns:
        What `metrics.summary` and `calibration.summary` say of the arm.
    """
    files.write_arrays(predictions / f"{name}.npz", **asdict(answers))
    pairs = zip(answers.labels, answers.logits.argmax(1), strict=True)
    rows = ((classes[actual], classes[predicted]) for actual, predicted in pairs)
    files.write_table(drawings / "confusion" / f"{name}.csv", ("actual", "predicted"), rows)
    found = metrics.summary(answers.logits, answers.labels, classes)
    recall = ((row["class"], row["recall"]) for row in found["per_class"])
    files.write_table(drawings / "per_class" / f"{name}.csv", ("class", "accuracy"), recall)
    picture = plots.confusion(np.array(found["confusion"]), classes, title)
    files.write_figure(drawings / "pictures" / f"confusion_{name}.png", picture)
    found["val_accuracy"] = metrics.accuracy(answers.val_logits, answers.val_labels)
    return found | calibration.summary(answers.logits, answers.labels, answers.val_logits, answers.val_labels)
