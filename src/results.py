"""One arm's logits -> its predictions, tables and pictures on disk, and its part of the metrics. For `eval_*`."""

from pathlib import Path
from typing import Any

import numpy as np

from src import files, metrics, plots


def write_arm(
    predictions: Path,
    folder: Path,
    name: str,
    title: str,
    *,
    logits: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray,
    classes: list[str],
) -> dict[str, Any]:
    """Save what compare and DVC's plots need of one arm.

    Args:
        predictions: the .npz file of logits (N, K), labels (N,) and the images' positions (N,) in the raw test array.
        folder: gets confusion/<name>.csv, per_class/<name>.csv and pictures/confusion_<name>.png.

    Returns:
        `metrics.summary` of the arm.
    """
    files.write_arrays(predictions, logits=logits, labels=labels, index=index)
    pairs = zip(labels, logits.argmax(1), strict=True)
    rows = ((classes[actual], classes[predicted]) for actual, predicted in pairs)
    files.write_table(folder / "confusion" / f"{name}.csv", ("actual", "predicted"), rows)
    found = metrics.summary(logits, labels, classes)
    recall = ((row["class"], row["recall"]) for row in found["per_class"])
    files.write_table(folder / "per_class" / f"{name}.csv", ("class", "accuracy"), recall)
    picture = plots.confusion(np.array(found["confusion"]), classes, title)
    files.write_figure(folder / "pictures" / f"confusion_{name}.png", picture)
    return found
