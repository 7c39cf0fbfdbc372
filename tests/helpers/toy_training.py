"""A training that takes a second: what concerns the loop, and not what it learns."""

import numpy as np

from src.data import sources
from src.finetune.batches import Data
from src.nets import preprocess

VIEW = preprocess.view("resnet18", 8)
RECIPE = {
    **{"epochs": 2, "batch_size": 16, "optimizer": "adam", "lr": 0.01, "weight_decay": 0.0},
    **{"schedule": "constant", "warmup": 0.0, "ema": None, "patience": None, "augment": True, "view": VIEW, "seed": 0},
}


def digits() -> Data:
    """70 images to train on, 30 to validate."""
    found = sources.digits()["train"]
    (pixels,) = found.images
    train, val = np.arange(70), np.arange(70, 100)
    return Data(pixels, train, found.labels[train], val, found.labels[val])
