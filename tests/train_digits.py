"""Trains a network on digits, in one process or in those of `torchrun`, and writes what each epoch gave.

torchrun --nproc-per-node=2 -m tests.train_digits <arch> <images> <epochs> <batch_size> <seed> <precision> <file.json>
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from src import datasets, images, models, runtime, training


def main(arch: str, count: str, epochs: str, batch_size: str, seed: str, precision: str, path: str) -> None:
    accelerator = runtime.start("cpu", precision)
    torch.set_num_threads(1)
    digits = datasets.digits()["train"]
    (pixels,) = digits.images
    train, val = np.arange(int(count)), np.arange(1000, 1032)
    data = training.Data(pixels, train, digits.labels[train], val, digits.labels[val])
    recipe = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "schedule": "constant", "augment": True}
    model = runtime.place(models.build(arch, 10, seed=0), accelerator.device)
    history = training.train(
        model,
        data,
        epochs=int(epochs),
        batch_size=int(batch_size),
        view=images.view(arch, 32),
        seed=int(seed),
        accelerator=accelerator,
        **recipe,
    )
    results = [epoch.results() | {"images": epoch.images} for epoch in history]
    if accelerator.is_main_process:
        state = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
        Path(path).write_text(json.dumps({"epochs": results, "state": state}))


if __name__ == "__main__":
    main(*sys.argv[1:])
