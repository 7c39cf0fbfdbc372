"""The training batches of an epoch, which the seed and the epoch alone decide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from src.core import seeds
from src.device import runtime
from src.device.prefetch import Images, OnHost, gathered, moved, resident
from src.finetune.augment import apply_policy, erase_and_mix, seeded
from src.finetune.config import Finetune
from src.nets.crops import Watched, crop, draw_crops
from src.nets.preprocess import View, to_input


@dataclass(frozen=True)
class Data:
    """Images (N, H, W, 3) uint8, the indices (n,) into them of those to train on, labels (n,), and those to watch."""

    images: Images
    train_index: np.ndarray
    train_labels: np.ndarray
    watched: Watched

    @classmethod
    def of(cls, raw: Mapping[str, Images], subset: Mapping[str, np.ndarray], watch: str) -> "Data":
        """From a subset as stage `prepare` wrote it.

        Args:
            raw: by split, the images, as `on_device` gives them.
            watch: see `Finetune.watch`.
        """
        watched = Watched.of(raw, subset, watch)
        return cls(raw["train"], subset["train_index"], subset["train_labels"], watched)


def on_device(raw: Mapping[str, OnHost], device: torch.device) -> dict[str, Images]:
    """Images by split; those to train on are on the device, if they take little of it.

    All seeds, trials and backbones of a process share them.
    """
    return {**raw, "train": resident(raw["train"], device)}


def shuffled(
    data: Data, epoch: int, config: Finetune, *, view: View, seed: int, accelerator: Accelerator, skip: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch: inputs (B, 3, S, S) float32 and labels (B,), or (B, K) where images are mixed.

    The images that do not fill the last batch are left out of that epoch if `config.drop_last`. Each process of several
    gets its own part of every batch, with the crops and transforms that a single process would apply.

    Args:
        skip: batches that an interrupted run has seen already.
    """
    batch_size, steps = config.batches(len(data.train_index))
    order = draw_order(data.train_labels, seeds.generator(seed, "order", epoch), config.balance)
    crops = torch.Generator().manual_seed(seeds.derive(seed, "augment", epoch))
    for _ in range(skip if config.augment else 0):
        draw_crops(batch_size, data.images.shape[1], data.images.shape[2], crops)
    whole = [order[step * batch_size : (step + 1) * batch_size] for step in range(skip, steps)]
    own = [runtime.own_slice(len(part), accelerator) for part in whole]
    # Transforms that look at the whole batch are applied by every process before it takes its part.
    made = [slice(None)] * len(own) if config.augments_batches else own
    parts = [part[kept] for part, kept in zip(whole, made, strict=True)]
    batches = gathered(data.images, (data.train_index[part] for part in parts), accelerator.device)
    for step, images in enumerate(batches):  # (B, H, W, 3)
        part = parts[step]
        if config.augment:
            rows, columns = draw_crops(len(whole[step]), images.shape[1], images.shape[2], crops)
            images = crop(images, rows[made[step]], columns[made[step]])
        labels = moved(torch.from_numpy(data.train_labels[part]), accelerator.device)  # (B,)
        if not config.augments_batches:
            yield to_input(images, view), labels
            continue
        with seeded(seeds.derive(seed, "transforms", epoch, skip + step + 1)):
            inputs = to_input(apply_policy(images, config.policy), view)
            inputs, labels = erase_and_mix(inputs, labels, int(data.train_labels.max()) + 1, config)
        yield inputs[own[step]], labels[own[step]]


def draw_order(labels: np.ndarray, rng: np.random.Generator, balance: str) -> np.ndarray:
    """A permutation of the positions of labels (n,); with `sampling`, n positions that show all classes equally often.

    Under `sampling` the images of a class take turns: each is there as often as any other, or once more. The remainder
    of n divided by the number of classes goes to classes that are drawn.
    """
    if balance != "sampling":
        return rng.permutation(len(labels))
    classes = int(labels.max()) + 1
    counts = np.full(classes, len(labels) // classes)
    counts[rng.permutation(classes)[: len(labels) % classes]] += 1
    members = [np.flatnonzero(labels == label) for label in range(classes)]
    chosen = [
        np.concatenate([rng.permutation(own) for _ in range(-(-count // len(own)))])[:count]
        for own, count in zip(members, counts, strict=True)
    ]
    return rng.permutation(np.concatenate(chosen))
