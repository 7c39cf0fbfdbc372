"""The band of one further run, by hand and by simulation."""

import numpy as np
import pytest
from scipy import stats

from src.core.errors import UserError
from src.reproduction.prediction import further_run, image_variance, simultaneous


def test_without_images_it_is_the_prediction_interval_of_a_normal_sample():
    band = further_run([0.90, 0.92, 0.94], 0.0, 1000, 0.95)
    reach = stats.t.ppf(0.975, 2) * 0.02 * (4 / 3) ** 0.5
    assert (band.mean, band.sd, band.low, band.high) == pytest.approx((0.92, 0.02, 0.92 - reach, 0.92 + reach))
    assert band.holds(0.93)
    assert not band.holds(0.92 + 1.01 * reach)
    assert further_run([0.2, 0.9], 0.0, 1000, 0.95).possible(1).low == 0
    assert further_run([0.2, 0.9], 0.0, 1000, 0.95).possible(1).high == 1


def test_the_images_variance_is_that_of_a_mean_over_them():
    rng = np.random.default_rng(0)
    image, rest = rng.normal(0, 2, 4000), rng.normal(0, 1, (5, 4000))
    assert image_variance(image + rest) == pytest.approx(4 / 4000, rel=0.1)
    assert image_variance(rng.normal(0, 1, (5, 4000))) < 0.05 / 4000


def answers(rng, seeds, n, seed_sd, share):
    """Right or wrong of runs that share n images: every answer has a normal variable of seed, image and chance."""
    images = rng.normal(0, share**0.5, n)
    chance = rng.normal(0, (1 - share) ** 0.5, (seeds, n))
    return (0.8 + rng.normal(0, seed_sd, (seeds, 1)) + images + chance > 0).astype(float)


@pytest.mark.parametrize(("seed_sd", "share"), [(0.0, 0.6), (0.03, 0.6), (0.15, 0.6), (0.03, 0.05)])
def test_a_further_run_falls_into_the_band_as_often_as_it_says(seed_sd, share):
    rng, n, inside, times = np.random.default_rng(3), 300, 0, 1000
    for _ in range(times):
        ours = answers(rng, 5, n, seed_sd, share)
        further = answers(rng, 1, n, seed_sd, share).mean()
        inside += further_run(ours.mean(1), image_variance(ours), n, 0.95).holds(further)
    assert 0.93 <= inside / times <= 0.98


def test_bands_that_hold_at_once_share_the_error_among_them():
    assert simultaneous(0.95, 15) == pytest.approx(1 - 0.05 / 15)
    assert simultaneous(0.95, 1) == pytest.approx(0.95)


def test_one_run_has_no_band():
    with pytest.raises(UserError, match="--seeds two or more"):
        further_run([0.9], 0.0, 100, 0.95)
