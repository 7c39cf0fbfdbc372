"""Preprocessing: augmentation against all its outcomes, resizing and normalisation against torchvision's."""

from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.models import get_model_weights
from torchvision.transforms import functional

from src.nets.crops import crop, draw_crops
from src.nets.preprocess import to_input, view


def batch(count: int, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(1, 256, (count, height, width, 3), dtype=np.uint8))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crop_and_flip(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return crop(images, *draw_crops(*images.shape[:3], rng))


def every_outcome(image: np.ndarray) -> dict[bytes, tuple[int, int, bool]]:
    """All crops of one image after padding by an eighth, each with and without mirroring: from bytes to how."""
    height, width, _ = image.shape
    y, x = height // 8, width // 8
    padded = np.pad(image, ((y, y), (x, x), (0, 0)))
    crops = {
        (top, left): padded[top : top + height, left : left + width]
        for top in range(2 * y + 1)
        for left in range(2 * x + 1)
    }
    upright = {crop.tobytes(): (*place, False) for place, crop in crops.items()}
    return upright | {crop[:, ::-1].tobytes(): (*place, True) for place, crop in crops.items()}


def test_each_image_is_augmented_by_itself_with_equal_probabilities():
    """Standard deviations: 0.011 of the share of mirrored images, 9 of the number at each of the 25 places."""
    images = batch(2000)
    augmented = crop_and_flip(images, rng()).numpy()
    result = [every_outcome(old)[new.tobytes()] for old, new in zip(images.numpy(), augmented, strict=True)]
    assert np.mean([mirrored for *_, mirrored in result]) == pytest.approx(0.5, abs=0.045)
    places = Counter((top, left) for top, left, _ in result)
    assert len(places) == 25
    assert all(abs(count - 80) < 36 for count in places.values())


def test_oblong_images_are_padded_by_an_eighth_of_each_side():
    images = batch(300, height=8, width=32)
    result = [
        every_outcome(old)[new.tobytes()]
        for old, new in zip(images.numpy(), crop_and_flip(images, rng()).numpy(), strict=True)
    ]
    assert {top for top, _, _ in result} == set(range(3))
    assert {left for _, left, _ in result} == set(range(9))


def test_images_too_small_to_be_padded_are_only_mirrored():
    images = batch(50, height=7, width=7)
    augmented = crop_and_flip(images, rng())
    same = [torch.equal(old, new) for old, new in zip(images, augmented, strict=True)]
    mirrored = [torch.equal(old.flip(1), new) for old, new in zip(images, augmented, strict=True)]
    assert all(one != other for one, other in zip(same, mirrored, strict=True))
    assert 10 < sum(mirrored) < 40


def test_augmentation_keeps_shape_and_type_and_leaves_the_batch_alone():
    images = batch(5, height=10, width=24)
    before = images.clone()
    augmented = crop_and_flip(images, rng())
    assert augmented.shape == images.shape
    assert augmented.dtype == torch.uint8
    assert torch.equal(images, before)


def test_the_same_generator_gives_the_same_bytes_and_goes_on():
    images, first, second = batch(8), rng(), rng()
    assert torch.equal(crop_and_flip(images, first), crop_and_flip(images, second))
    assert torch.equal(crop_and_flip(images, first), crop_and_flip(images, second))
    assert not torch.equal(crop_and_flip(images, first), crop_and_flip(images, rng()))


def test_normalisation_of_efficientnet_lite_puts_127_at_zero_and_255_at_one():
    shades = torch.tensor([0, 127, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 1, 3)
    inputs = to_input(shades, view("efficientnet_lite0", 1))
    torch.testing.assert_close(inputs[:, 0, 0, 0], torch.tensor([-127 / 128, 0, 1]))


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_b0"])
def test_normalisation_by_half_puts_black_at_minus_one_and_white_at_one_and_resizes_as_before(arch):
    shades = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 1, 3)
    half = view(arch, 1, "half")
    torch.testing.assert_close(to_input(shades, half)[:, :, 0, 0], torch.tensor([-1, -0.6, 1])[:, None].expand(3, 3))
    assert half.interpolation == view(arch, 1).interpolation


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_b0"])
@pytest.mark.parametrize("size", [16, 40, 11, 8])
def test_inputs_are_resized_and_normalised_as_by_torchvision(arch, size):
    images, seen = batch(3), view(arch, size)
    pixels = functional.convert_image_dtype(images.permute(0, 3, 1, 2))
    how = get_model_weights(arch).DEFAULT.transforms().interpolation
    resized = functional.resize(pixels, [size, size], how, antialias=True)
    expected = functional.normalize(resized, list(seen.mean), list(seen.std))
    torch.testing.assert_close(to_input(images, seen), expected, atol=1e-5, rtol=1e-5)


def test_an_image_of_one_shade_stays_so_whatever_its_size():
    images = torch.full((1, 10, 30, 3), 255, dtype=torch.uint8)
    inputs = to_input(images, view("resnet18", 12))
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(inputs, expected.view(1, 3, 1, 1).expand(1, 3, 12, 12))


def test_inputs_lie_in_memory_with_channels_last_where_nothing_was_resized():
    inputs = to_input(batch(2), view("resnet18", 16))
    assert inputs.shape == (2, 3, 16, 16)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous(memory_format=torch.channels_last)
