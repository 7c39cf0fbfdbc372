"""Weather that covers an image: fog, snow, drops of water, and mud."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from src.core.errors import UserError
from src.robustness import corruptions, filters, study
from src.robustness.corruptions import CONSTANTS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_fog_fills_the_range_and_is_finer_if_it_decays_less():
    smooth, rough = (filters.plasma(20, 32, decay, rng()) for decay in (3, 1.75))
    for heights in (smooth, rough):
        assert heights.min(axis=(1, 2)).tolist() == [0] * 20
        assert heights.max(axis=(1, 2)).tolist() == [1] * 20
    steps = [np.abs(np.diff(heights, axis=2)).mean() for heights in (smooth, rough)]
    assert steps[0] < 0.7 * steps[1]


def test_fog_keeps_the_brightest_value_within_reach_and_lowers_contrast():
    image = rng().random((5, 32, 32, 3))
    result = filters.fog(image, (1.5, 1.75), rng())
    assert result.max() <= image.max() + 1e-9
    assert (result.std(axis=(1, 2)) < image.std(axis=(1, 2))).all()


def test_snow_makes_a_black_image_lighter_and_the_same_seen_from_either_end():
    result = filters.snow(np.zeros((3, 32, 32, 3)), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8), rng())
    np.testing.assert_allclose(result, result[:, ::-1, ::-1], atol=1e-9)
    assert result.min() >= 0.1 - 1e-9  # black, drawn towards grey
    assert result.max() > 0.3


def published(liquid_layer: np.ndarray, x: np.ndarray, strength: float) -> np.ndarray:
    """The lines of make_cifar_c.py (github.com/hendrycks/robustness) that put water on an image, word for word."""
    dist = 255 - cv2.Canny(liquid_layer, 50, 150)
    dist = cv2.distanceTransform(dist, cv2.DIST_L2, 5)
    _, dist = cv2.threshold(dist, 20, 20, cv2.THRESH_TRUNC)
    dist = cv2.blur(dist, (3, 3)).astype(np.uint8)
    dist = cv2.equalizeHist(dist)
    ker = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    dist = cv2.filter2D(dist, cv2.CV_8U, ker.astype(np.float32))
    dist = cv2.blur(dist, (3, 3)).astype(np.float32)
    m = cv2.cvtColor(liquid_layer * dist, cv2.COLOR_GRAY2BGRA)
    m /= np.max(m, axis=(0, 1))
    m *= strength
    one = np.ones_like(m[..., :1])
    color = np.concatenate((175 / 255.0 * one, 238 / 255.0 * one, 238 / 255.0 * one), axis=2)
    color = cv2.cvtColor(color, cv2.COLOR_BGR2BGRA)
    x = cv2.cvtColor(x, cv2.COLOR_BGR2BGRA)
    return cv2.cvtColor(np.clip(x + m * color, 0, 1), cv2.COLOR_BGRA2BGR)


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_is_what_the_published_code_makes_of_the_same_drops(severity):
    mean, deviation, sigma, least, strength, _ = constant = CONSTANTS["spatter"][severity - 1]
    images = rng(1).random((20, 32, 32, 3))
    drops = ndimage.gaussian_filter(rng().normal(mean, deviation, (20, 32, 32)), (0, sigma, sigma), mode="nearest")
    drops[drops < least] = 0
    wet = np.clip(drops * 255, 0, 255).astype(np.uint8)
    ours = np.clip(filters.spatter(images, constant, rng()), 0, 1)
    seen = wet.any(axis=(1, 2))
    assert seen.sum() > 10
    for layer, image, result in zip(wet[seen], images[seen], ours[seen], strict=True):
        np.testing.assert_allclose(result, published(layer, image.astype(np.float32), strength), atol=1e-5)


def test_drops_are_lit_on_one_side_and_an_image_without_drops_stays():
    assert filters.shine(np.zeros((16, 16), np.uint8)).max() == 0
    drops = np.zeros((16, 16), np.uint8)
    drops[4:12, 4:12] = 200
    result = filters.shine(drops)
    assert result.max() == 1
    assert result[drops == 0].max() == 0


def test_without_its_package_spatter_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(corruptions, "find_spec", lambda _: None)
    images = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(UserError, match=r"spatter needs .*; run pip install -r requirements-robustness\.txt"):
        study.source(None, images, np.arange(1), np.arange(1), 0)


def test_mud_covers_with_its_own_colour_and_leaves_the_rest():
    white = np.ones((4, 32, 32, 3))
    result = filters.spatter(white, (0.65, 0.1, 0.5, 0.68, 0.6, 1), rng())
    covered = (result < 1).any(axis=3)
    assert 0 < covered.mean() < 0.5
    assert (result[~covered] == 1).all()
    darkest = result[covered].min(axis=0)
    np.testing.assert_allclose(darkest, filters.MUD, atol=0.1)
