"""Corruptions are CIFAR-10-C's: its names, constants, and what its published code makes of the same image."""

import ast
import colorsys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from src.robustness import corruptions
from src.robustness.corruptions import CONSTANTS, FAMILIES, FUNCTIONS, NAMES, corrupt

# The lines of make_cifar_c.py (github.com/hendrycks/robustness) that hold the constants, word for word.
PUBLISHED = {
    "gaussian_noise": "[0.04, 0.06, .08, .09, .10]",
    "shot_noise": "[500, 250, 100, 75, 50]",
    "impulse_noise": "[.01, .02, .03, .05, .07]",
    "speckle_noise": "[.06, .1, .12, .16, .2]",
    "gaussian_blur": "[.4, .6, 0.7, .8, 1]",
    "glass_blur": "[(0.05,1,1), (0.25,1,1), (0.4,1,1), (0.25,1,2), (0.4,1,2)]",
    "defocus_blur": "[(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]",
    "motion_blur": "[(6,1), (6,1.5), (6,2), (8,2), (9,2.5)]",
    "fog": "[(.2,3), (.5,3), (0.75,2.5), (1,2), (1.5,1.75)]",
    "snow": """[(0.1,0.2,1,0.6,8,3,0.95),
         (0.1,0.2,1,0.5,10,4,0.9),
         (0.15,0.3,1.75,0.55,10,4,0.9),
         (0.25,0.3,2.25,0.6,12,6,0.85),
         (0.3,0.3,1.25,0.65,14,12,0.8)]""",
    "spatter": """[(0.62,0.1,0.7,0.7,0.5,0),
         (0.65,0.1,0.8,0.7,0.5,0),
         (0.65,0.3,1,0.69,0.5,0),
         (0.65,0.1,0.7,0.69,0.6,1),
         (0.65,0.1,0.5,0.68,0.6,1)]""",
    "contrast": "[.75, .5, .4, .3, 0.15]",
    "brightness": "[.05, .1, .15, .2, .3]",
    "saturate": "[(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)]",
    "jpeg_compression": "[80, 65, 58, 50, 40]",
    "pixelate": "[0.95, 0.9, 0.85, 0.75, 0.65]",
}
ELASTIC = [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)]  # times 32
ZOOMS = [np.arange(1, 1.06, 0.01), np.arange(1, 1.11, 0.01), np.arange(1, 1.16, 0.01)]
ZOOMS += [np.arange(1, 1.21, 0.01), np.arange(1, 1.26, 0.01)]

# Mean and deviation of what the published code makes of `waves`, at severities 1 and 5 (scikit-image 0.26, OpenCV 5.0).
REFERENCE = {
    "gaussian_blur": [[132.348, 58.993], [132.272, 52.24]],
    "defocus_blur": [[132.387, 58.985], [132.702, 54.211]],
    "zoom_blur": [[133.459, 57.053], [132.078, 54.628]],
    "brightness": [[141.448, 62.683], [173.681, 69.662]],
    "contrast": [[132.421, 44.884], [132.329, 9.78]],
    "pixelate": [[132.879, 59.556], [133.229, 57.857]],
    "jpeg_compression": [[132.814, 54.681], [132.954, 54.984]],
    "saturate": [[168.271, 39.903], [95.446, 82.191]],
}


def waves() -> np.ndarray:
    """One image (1, 32, 32, 3)."""
    row, column, channel = np.mgrid[:32, :32, :3]
    return np.uint8(127.5 + 60 * np.sin(column * (channel + 1) / 3.0) + 60 * np.cos(row / (2.0 + channel)))[None]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_there_are_nineteen_in_four_families_and_all_but_frost_can_be_made():
    assert len(NAMES) == len(set(NAMES)) == 19
    assert list(FAMILIES) == ["noise", "blur", "weather", "digital"]
    assert set(NAMES) - {"frost"} == set(FUNCTIONS) == set(CONSTANTS)
    assert set(corruptions.EXTRA) < set(NAMES)
    assert len(NAMES) - len(corruptions.EXTRA) == 15


@pytest.mark.parametrize("name", PUBLISHED)
def test_constants_are_the_published_ones(name):
    assert list(CONSTANTS[name]) == ast.literal_eval(PUBLISHED[name])


def test_constants_of_elastic_and_zoom_are_the_published_ones():
    assert list(CONSTANTS["elastic_transform"]) == ELASTIC
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(CONSTANTS["zoom_blur"], ZOOMS, strict=True))


@pytest.mark.parametrize("name", REFERENCE)
def test_what_needs_no_chance_is_what_the_published_code_makes(name):
    for severity, (mean, deviation) in zip((1, 5), REFERENCE[name], strict=True):
        result = corrupt(waves(), name, severity, rng()).astype(float)
        assert result.mean() == pytest.approx(mean, abs=0.1)  # single precision cuts off elsewhere
        assert result.std() == pytest.approx(deviation, abs=0.03)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (20, 33)])
def test_every_corruption_changes_images_and_is_the_same_for_a_seed(name, shape):
    images = rng(1).integers(0, 256, (3, *shape, 3), np.uint8)
    result = corrupt(images, name, 5, rng())
    assert result.shape == images.shape
    assert result.dtype == np.uint8
    assert not np.array_equal(result, images)
    assert np.array_equal(result, corrupt(images, name, 5, rng()))


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "contrast", "fog"])
def test_a_higher_severity_changes_more(name):
    images = waves().repeat(8, axis=0)
    changes = [np.abs(corrupt(images, name, s, rng()).astype(int) - images).mean() for s in corruptions.SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_images_in_a_batch_do_not_mix(name):
    """Of two batches that differ in the last image alone, the first ones come out the same."""
    one = rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    other = np.concatenate([one[:2], 255 - one[2:]])
    if name == "shot_noise":  # draws as often as its rates tell it to
        other[2] = one[2]
    assert np.array_equal(corrupt(one, name, 3, rng())[:2], corrupt(other, name, 3, rng())[:2])


def test_noise_has_the_size_that_it_says():
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    result = corrupt(grey, "gaussian_noise", 5, rng()) / 255
    assert result.std() == pytest.approx(0.10, rel=0.02)
    result = corrupt(grey, "shot_noise", 5, rng()) / 255
    assert result.std() == pytest.approx((128 / 255 / 50) ** 0.5, rel=0.02)
    result = corrupt(grey, "impulse_noise", 5, rng())
    assert (result == 0).mean() == pytest.approx(0.035, abs=0.003)
    assert (result == 255).mean() == pytest.approx(0.035, abs=0.003)
    result = corrupt(grey, "speckle_noise", 5, rng()) / 255
    assert result.std() == pytest.approx(0.2 * 128 / 255, rel=0.02)


@pytest.mark.parametrize(("name", "severity"), [("brightness", 3), ("saturate", 2), ("saturate", 4)])
def test_colours_change_as_in_the_standard_librarys_hsv(name, severity):
    constant = CONSTANTS[name][severity - 1]
    image = rng(2).integers(0, 256, (1, 4, 4, 3), np.uint8)
    result = corrupt(image, name, severity, rng())
    for pixel, ours in zip(image.reshape(-1, 3) / 255, result.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        if name == "brightness":
            value = min(1, value + constant)
        else:
            saturation = min(1, saturation * constant[0] + constant[1])
        assert np.abs(np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255 - ours).max() <= 1


def test_contrast_is_lowered_around_the_mean_of_each_colour():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0] = 200  # so that the mean is 100
    result = corrupt(image, "contrast", 2, rng())
    assert result[0, 0, 0].tolist() == [150] * 3
    assert result[0, 1, 0].tolist() == [50] * 3


def test_jpeg_and_pixelate_are_pillows_own():
    (image,) = waves()
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    assert np.array_equal(corrupt(waves(), "jpeg_compression", 5, rng())[0], np.asarray(Image.open(file)))
    small = Image.fromarray(image).resize((20, 20), Image.Resampling.BOX)
    expected = np.asarray(small.resize((32, 32), Image.Resampling.BOX))
    assert np.array_equal(corrupt(waves(), "pixelate", 5, rng())[0], expected)
