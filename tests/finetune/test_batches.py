"""The batches of an epoch: balanced sampling, and augmentation that only the seed, the epoch and the batch decide."""

import numpy as np
import pytest
import torch

from src.core import seeds
from src.device import runtime
from src.finetune import batches
from tests.helpers.toy_training import VIEW, config, digits

CPU = runtime.start("cpu", "fp32")
FULL = {"augment": True, "policy": "trivialaugment", "erasing": 0.5, "mix": "cutmix", "mix_alpha": 1.0}
CROPS, NOTHING = {"augment": True}, {"augment": False}


class Process:
    """What `batches` asks of an accelerator, as one of several processes."""

    device = torch.device("cpu")

    def __init__(self, index: int, of: int) -> None:
        self.process_index, self.num_processes = index, of


def epoch(number: int = 1, augmentation: dict = FULL, seed: int = 0, accelerator=CPU, skip=0, **changes) -> list:
    chosen = config(**augmentation, **changes)
    return list(batches.shuffled(digits(), number, chosen, view=VIEW, seed=seed, accelerator=accelerator, skip=skip))


def same(ours: list, theirs: list) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(one, other)
        for mine, yours in zip(ours, theirs, strict=True)
        for one, other in zip(mine, yours, strict=True)
    )


def test_balanced_sampling_shows_every_class_equally_often_in_as_many_images():
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    order = batches.draw_order(labels, seeds.generator(0, "order", 1), "sampling")
    assert len(order) == 100
    assert sorted(np.bincount(labels[order])) == [33, 33, 34]


def test_the_images_of_a_class_take_turns():
    labels = np.repeat([0, 1, 2], [70, 20, 9])
    shown = np.bincount(batches.draw_order(labels, seeds.generator(0, "order", 1), "sampling"), minlength=99)
    for label, often in enumerate(({0, 1}, {1, 2}, {3, 4})):  # 33 of each class
        assert set(shown[labels == label]) == often
        assert shown[labels == label].sum() == 33


def test_balanced_sampling_of_classes_of_one_size_shows_every_image_once():
    labels = np.repeat(np.arange(5), 8)
    order = batches.draw_order(labels, seeds.generator(0, "order", 1), "sampling")
    assert sorted(order) == list(range(40))
    assert order.tolist() != list(range(40))


def test_classes_are_mixed_in_the_order_and_the_seed_decides_it():
    labels = np.repeat([0, 1], [900, 100])
    order, again, other = (
        batches.draw_order(labels, seeds.generator(seed, "order", 1), "sampling") for seed in (0, 0, 1)
    )
    assert order.tolist() == again.tolist() != other.tolist()
    thirds = [labels[part].mean() for part in np.array_split(order, 3)]
    assert thirds == pytest.approx([0.5] * 3, abs=0.12)


@pytest.mark.parametrize("augmentation", [NOTHING, CROPS, FULL])
@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_an_epoch_that_goes_on_after_some_batches_gives_the_same_others(augmentation, balance):
    whole = epoch(2, augmentation, balance=balance)
    assert len(whole) == 4
    for skip in range(5):
        assert same(epoch(2, augmentation, skip=skip, balance=balance), whole[skip:])


def test_every_epoch_and_every_seed_augments_in_another_way():
    orders = [epoch(number, FULL, seed) for number, seed in ((1, 0), (2, 0), (1, 1))]
    assert not same(orders[0], orders[1])
    assert not same(orders[0], orders[2])
    boxes = {float(labels.max(1).values.mean()) for _, labels in orders[0]}
    assert len(boxes) == 4  # every batch has a mixture of its own


@pytest.mark.parametrize("augmentation", [CROPS, FULL])
def test_the_parts_of_several_processes_are_together_the_batches_of_one(augmentation):
    parts = [epoch(1, augmentation, accelerator=Process(index, of=2)) for index in range(2)]
    together = [tuple(map(torch.cat, zip(*pair, strict=True))) for pair in zip(*parts, strict=True)]
    assert same(together, epoch(1, augmentation))


def test_inputs_are_made_as_without_augmentation_where_none_is_drawn():
    """Erasing with a probability near zero goes another way through the code, and does nothing."""
    assert same(epoch(1, CROPS | {"erasing": 1e-9}), epoch(1, CROPS))
