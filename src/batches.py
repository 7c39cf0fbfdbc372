"""The batches of an epoch, which the seed and the epoch alone decide. For the training loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from src import seeds, sharding
from src.feeding import Images, gathered
from src.images import View, crop, draw_crops, to_input


@dataclass(frozen=True)
class Data:
    """Images (N, H, W, 3) uint8, and for training and validation the indices (n,) into them and labels (n,)."""

    images: Images
    train_index: np.ndarray
    train_labels: np.ndarray
    val_index: np.ndarray
    val_labels: np.ndarray

    @classmethod
    def of(cls, images: Images, subset: Mapping[str, np.ndarray]) -> "Data":
        """Of a subset as `subsets.subset` gives it."""
        return cls(images, *(subset[part] for part in ("train_index", "train_labels", "val_index", "val_labels")))


def shuffled(
    data: Data,
    epoch: int,
    batch_size: int,
    augment: bool,
    view: View,
    seed: int,
    accelerator: Accelerator,
    skip: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch, which (seed, epoch) alone decide, without the first `skip`; see `feed`.

    Every batch has the same size; the images that do not fill the last one are left out of that epoch.
    """
    order = seeds.generator(seed, "order", epoch).permutation(len(data.train_index))
    crops = torch.Generator().manual_seed(seeds.derive(seed, "augment", epoch)) if augment else None
    if crops:
        for _ in range(skip):
            draw_crops(batch_size, data.images.shape[1], data.images.shape[2], crops)
    return feed(data, order[skip * batch_size :], batch_size, crops, view, accelerator)


def feed(
    data: Data,
    order: np.ndarray,
    batch_size: int,
    crops: torch.Generator | None,
    view: View,
    accelerator: Accelerator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches in the given order: inputs (B, 3, S, S) float32, augmented where `crops` is given; labels (B,).

    One of several processes is given its own part of each batch: the images and crops that one alone would see there.
    """
    own = sharding.own(batch_size, accelerator)
    parts = [order[start : start + batch_size][own] for start in range(0, len(order) - batch_size + 1, batch_size)]
    pictures = gathered(data.images, (data.train_index[part] for part in parts), accelerator.device)
    for part, batch in zip(parts, pictures, strict=True):  # (B, H, W, 3)
        if crops:
            rows, columns = draw_crops(batch_size, batch.shape[1], batch.shape[2], crops)
            batch = crop(batch, rows[own], columns[own])
        labels = torch.from_numpy(data.train_labels[part]).to(accelerator.device, non_blocking=True)  # (B,)
        yield to_input(batch, view), labels
