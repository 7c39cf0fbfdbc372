"""Augmentation of batches: by seeds, what torchvision makes of each group; images mixed as their labels are."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from src.finetune.augment import GROUPS, apply_policy, erase_and_mix, seeded
from src.finetune.config import Finetune

POLICIES = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}
ALL = [{"policy": name} for name in POLICIES] + [{"erasing": 0.5}, {"mix": "mixup"}, {"mix": "cutmix"}]
LABELS = torch.arange(24) % 10


def pixels(count: int = 24, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(256, size=(count, height, width, 3), dtype=np.uint8))


def inputs(count: int = 24, side: int = 16) -> torch.Tensor:
    """In the layout of `images.to_input`."""
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


def augmented(seed: int, **how: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels, inputs and labels."""
    config = Finetune(**how)
    with seeded(seed):
        return apply_policy(pixels(), config.policy), *erase_and_mix(inputs(), LABELS, 10, config)


def same(first, second) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_by_default_nothing_is_touched():
    batch, images = pixels(), inputs()
    assert not Finetune().augments_batches
    assert apply_policy(batch, Finetune().policy) is batch
    assert erase_and_mix(images, LABELS, 10, Finetune()) == (images, LABELS)


@pytest.mark.parametrize("how", ALL)
def test_a_seed_decides_everything_and_leaves_the_global_generator_as_it_was(how):
    assert Finetune(**how).augments_batches
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = augmented(5, **how)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert same(augmented(5, **how), first)
    assert not all(same(augmented(seed, **how), first) for seed in range(8))


@pytest.mark.parametrize("how", ALL)
def test_shapes_types_and_layout_stay_and_the_batch_given_is_left_alone(how):
    config, batch, images = Finetune(**how), pixels(12, 8, 24), inputs(12)
    kept = batch.clone(), images.clone()
    with seeded(0):
        result = apply_policy(batch, config.policy)
        mixed, _ = erase_and_mix(images, LABELS[:12], 10, config)
    assert (result.shape, result.dtype, result.is_contiguous()) == (batch.shape, torch.uint8, True)
    assert (mixed.shape, mixed.dtype, mixed.stride()) == (images.shape, torch.float32, images.stride())
    assert same((batch, images), kept)


@pytest.mark.parametrize("policy", POLICIES)
def test_each_group_of_a_batch_is_what_torchvision_makes_of_it(policy):
    batch, transform = pixels(), POLICIES[policy]()
    with seeded(3):
        expected = [transform(group.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for group in batch.split(24 // GROUPS)]
    with seeded(3):
        assert torch.equal(apply_policy(batch, policy), torch.cat(expected))
    with seeded(3):
        alone = apply_policy(batch[:5], policy)  # fewer images than groups
    assert alone.shape == (5, 16, 16, 3)


def test_mixup_is_a_convex_combination_of_neighbours_and_of_their_labels():
    images = inputs()
    for seed in range(20):
        _, mixed, labels = augmented(seed, mix="mixup", mix_alpha=0.4)
        own = labels[0, LABELS[0]].item()  # images 0 and 23, its neighbour, are of classes 0 and 3
        assert 0 <= own <= 1
        torch.testing.assert_close(mixed, own * images + (1 - own) * images.roll(1, 0), atol=1e-5, rtol=1e-5)
        hot = torch.eye(10)[LABELS]
        torch.testing.assert_close(labels, own * hot + (1 - own) * hot.roll(1, 0))
        torch.testing.assert_close(labels.sum(1), torch.ones(24))


def test_cutmix_takes_a_box_of_the_neighbour_and_the_share_of_its_area_of_the_neighbours_label():
    images, boxes = inputs(), set()
    for seed in range(20):
        _, mixed, labels = augmented(seed, mix="cutmix")
        other = (mixed != images).any(1)  # (N, S, S)
        assert torch.equal(mixed, torch.where(other[:, None], images.roll(1, 0), images))
        box = other[0]
        assert (other == box).all()
        rows, columns = box.any(1).sum(), box.any(0).sum()
        assert box.sum() == rows * columns
        boxes.add((int(rows), int(columns)))
        assert labels[0, LABELS[-1]].item() == pytest.approx(int(rows * columns) / 256, abs=1e-6)
        torch.testing.assert_close(labels.sum(1), torch.ones(24))
    assert len(boxes) > 10


def test_two_classes_can_be_mixed_too():
    _, labels = erase_and_mix(inputs(4), torch.tensor([0, 1, 0, 1]), 2, Finetune(mix="mixup"))
    assert labels.shape == (4, 2)
    torch.testing.assert_close(labels[0], labels[2])
    torch.testing.assert_close(labels[0] + labels[1], torch.ones(2))


def test_rectangles_are_erased_from_so_many_groups_as_the_probability_says():
    images, erased = inputs(), []
    for seed in range(60):
        _, result, _ = augmented(seed, erasing=0.25)
        changed = (result != images).any(1)
        assert (result.permute(0, 2, 3, 1)[changed] == 0).all()
        for group in changed.split(24 // GROUPS):
            box = group[0]
            assert (group == box).all()
            assert box.sum() == box.any(1).sum() * box.any(0).sum()
            erased.append(bool(box.any()))
    assert np.mean(erased) == pytest.approx(0.25, abs=0.08)  # four standard deviations of 480 draws
