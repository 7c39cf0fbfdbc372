"""Each blur moves light as it says, and an image of one colour stays as it is."""

import numpy as np
import pytest
from scipy import ndimage

from src.robustness import filters


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "blur", [filters.defocus, filters.gaussian, filters.glass, filters.motion, filters.zoom, filters.elastic]
)
def test_one_colour_stays(blur):
    constant = {
        "defocus": (1.5, 0.1),
        "gaussian": 1,
        "glass": (0.4, 1, 2),
        "motion": (9, 2.5),
        "zoom": [1, 1.1],
        "elastic": (0.1, 0.03, 0.03),
    }[blur.__name__]
    flat = np.full((2, 16, 16, 3), 102 / 255)
    assert np.abs(blur(flat, constant, rng()) - flat).max() < 1e-5


def test_a_small_disk_is_the_three_taps_that_soften_it():
    taps = np.exp(-np.array([1, 0, 1]) / (2 * 0.4**2))
    expected = np.outer(taps, taps) / taps.sum() ** 2
    result = filters.disk(0.3, 0.4)
    assert result.sum() == pytest.approx(1)
    np.testing.assert_allclose(result[7:10, 7:10], expected)
    np.testing.assert_allclose(result, result.T)


def test_motion_spreads_a_point_along_its_direction_by_half_a_gaussian():
    point = np.zeros((2, 21, 21, 1))
    point[:, 10, 10] = 1
    result = filters.moved(point, 3, 2, angles=np.array([0.0, 90.0]))[..., 0]
    taps = np.exp(-(np.arange(7) ** 2) / 8)
    expected = taps / taps.sum()
    np.testing.assert_allclose(result[0, 10, 10:3:-1], expected, atol=1 / 255)
    np.testing.assert_allclose(result[1, 10:3:-1, 10], expected, atol=1 / 255)
    assert result[0].sum() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("factor", [1, 1.04, 1.25, 1.75, 2.25])
def test_enlarging_is_scipys_zoom_of_the_middle(factor):
    image = rng().random((3, 32, 32, 3))
    part = int(np.ceil(32 / factor))
    top = (32 - part) // 2
    large = ndimage.zoom(image[1, top : top + part, top : top + part], (factor, factor, 1), order=1)
    trim = (len(large) - 32) // 2
    expected = large[trim : trim + 32, trim : trim + 32]
    np.testing.assert_allclose(filters.enlarged(image, factor)[1], expected, atol=1e-12)


def test_glass_takes_every_pixel_from_its_surroundings():
    """One round, hardly blurred: the colours are those of the image, and the two outermost lines above stay."""
    image = np.arange(64).reshape(1, 8, 8, 1).repeat(3, axis=3) / 255
    result = np.rint(filters.glass(image, (0.05, 1, 1), rng()) * 255).astype(int)[0, ..., 0]
    origin = np.arange(64).reshape(8, 8)
    assert np.array_equal(result[:2], origin[:2])
    rows, columns = np.divmod(result, 8)
    assert (np.abs(rows - np.arange(8)[:, None]) <= 1).all()
    assert (np.abs(columns - np.arange(8)) <= 1).all()
    assert (result != origin).any()


def test_elastic_without_any_reach_changes_nothing():
    image = rng().random((2, 16, 16, 3))
    np.testing.assert_allclose(filters.elastic(image, (0, 0, 0), rng()), image, atol=1e-9)
