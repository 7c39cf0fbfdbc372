"""Trains a network on digits, in one process or in those of `torchrun`, and writes what each epoch gave.

torchrun --nproc-per-node=2 -m tests.helpers.train_digits --arch resnet18 --images 1000 --val 400 --epochs 3 out.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from src.data import sources
from src.device import runtime
from src.finetune import loop
from src.finetune.batches import Data
from src.finetune.config import DEFAULT_LR, Finetune
from src.nets import models, preprocess, specialised
from src.nets.crops import Watched


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--arch", default="mobilenet_v3_small")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--freeze", type=float, default=0.0, help="images are augmented if it is 0")
    for name, default in (("images", 256), ("val", 32), ("epochs", 2), ("batch-size", 64), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def main() -> None:
    given = parse()
    accelerator = runtime.start("cpu", given.precision)
    torch.set_num_threads(1)
    digits = sources.digits()["train"]
    (pixels,) = digits.images
    train, val = np.arange(given.images), np.arange(given.images, given.images + given.val)
    data = Data(pixels, train, digits.labels[train], Watched(pixels, val, digits.labels[val]))
    history = loop.train(
        specialised.place(models.build(given.arch, 10, given.seed), 32, accelerator.device),
        data,
        Finetune(
            epochs=given.epochs,
            batch_size=given.batch_size,
            lr=DEFAULT_LR,
            freeze=given.freeze,
            augment=not given.freeze,
        ),
        view=preprocess.view(given.arch, 32),
        seed=given.seed,
        accelerator=accelerator,
    )
    results = [epoch.results() | {"images": epoch.images} for epoch in history]
    if accelerator.is_main_process:
        given.path.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
