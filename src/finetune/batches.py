"""The batches of an epoch, which the seed and the epoch alone decide."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from src.core import seeds
from src.device import runtime
from src.device.prefetch import Images, gathered, resident
from src.finetune.augment import Augmentation, crop, draw_crops, drawing
from src.finetune.config import Recipe
from src.nets.preprocess import View, to_input


@dataclass(frozen=True)
class Data:
    """Images (N, H, W, 3) uint8, and for training and validation the indices (n,) into them and labels (n,)."""

    images: Images
    train_index: np.ndarray
    train_labels: np.ndarray
    val_index: np.ndarray
    val_labels: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, subset: Mapping[str, np.ndarray], device: torch.device) -> "Data":
        """Of a subset as `subsets.subset` gives it; the images lie on the device where they take little of it."""
        parts = (subset[part] for part in ("train_index", "train_labels", "val_index", "val_labels"))
        return cls(resident(images, device), *parts)


def shuffled(
    data: Data,
    epoch: int,
    rule: Recipe,
    view: View,
    seed: int,
    accelerator: Accelerator,
    skip: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch, which (seed, epoch) alone decide, without the first `skip`; see `feed`.

    Every batch has the same size; the images that do not fill the last one are left out of that epoch. By balanced
    sampling all classes are shown equally often, see `balanced`, instead of all images.
    """
    rng, augmentation = seeds.generator(seed, "order", epoch), rule.augmentation
    batch_size, count = rule.batches(len(data.train_index))
    order = balanced(data.train_labels, rng) if rule.balance == "sampling" else rng.permutation(len(data.train_index))
    crops = torch.Generator().manual_seed(seeds.derive(seed, "augment", epoch)) if augmentation.crops else None
    if crops:
        for _ in range(skip):
            draw_crops(batch_size, data.images.shape[1], data.images.shape[2], crops)
    given = (data, order[skip * batch_size :], batch_size, crops, view, accelerator)
    if not augmentation.whole:
        return feed(*given)
    numbers = range(skip + 1, count + 1)  # of the batches
    return feed(*given, augmentation, (seeds.derive(seed, "transforms", epoch, number) for number in numbers))


def balanced(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many positions as there are labels (n,), shuffled, the same number of each class.

    The images of a class take turns: each is there as often as any other, or once more. What n leaves over when it is
    divided by the number of classes goes to classes that are drawn.
    """
    classes = int(labels.max()) + 1
    counts = np.full(classes, len(labels) // classes)
    counts[rng.permutation(classes)[: len(labels) % classes]] += 1
    members = [np.flatnonzero(labels == label) for label in range(classes)]
    shown = [
        np.concatenate([rng.permutation(own) for _ in range(-(-count // len(own)))])[:count]
        for own, count in zip(members, counts, strict=True)
    ]
    return rng.permutation(np.concatenate(shown))


def feed(
    data: Data,
    order: np.ndarray,
    batch_size: int,
    crops: torch.Generator | None,
    view: View,
    accelerator: Accelerator,
    augmentation: Augmentation | None = None,
    drawn: Iterable[int] = repeat(0),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches in the given order: inputs (B, 3, S, S) float32, cropped where `crops` is given; labels (B,).

    One of several processes is given its own part of each batch: the images and crops that one alone would see there.

    Args:
        augmentation: one that looks at the whole of a batch, which every process then makes before it takes its part.
            Labels are (B, K) where images are mixed.
        drawn: for each batch the seed of its augmentation.
    """
    own = runtime.own(batch_size, accelerator)
    made = slice(None) if augmentation else own  # of each batch, by this process
    parts = [order[start : start + batch_size][made] for start in range(0, len(order) - batch_size + 1, batch_size)]
    pictures = gathered(data.images, (data.train_index[part] for part in parts), accelerator.device)
    for part, batch, seed in zip(parts, pictures, drawn, strict=False):  # (B, H, W, 3)
        if crops:
            rows, columns = draw_crops(batch_size, batch.shape[1], batch.shape[2], crops)
            batch = crop(batch, rows[made], columns[made])
        labels = torch.from_numpy(data.train_labels[part]).to(accelerator.device, non_blocking=True)  # (B,)
        if augmentation is None:
            yield to_input(batch, view), labels
            continue
        with drawing(seed):
            inputs = to_input(augmentation.pixels(batch), view)
            inputs, labels = augmentation.inputs(inputs, labels, int(data.train_labels.max()) + 1)
        yield inputs[own], labels[own]
