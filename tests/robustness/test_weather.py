"""What is put before an image: height maps, flakes and drops, and the edges that drops are lit along."""

import numpy as np

from src.robustness import filters


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_fog_is_between_zero_and_one_fills_it_and_drifts_more_finely_where_it_decays_less():
    smooth, rough = (filters.plasma(20, 32, decay, rng()) for decay in (3, 1.75))
    for heights in (smooth, rough):
        assert heights.min(axis=(1, 2)).tolist() == [0] * 20
        assert heights.max(axis=(1, 2)).tolist() == [1] * 20
    steps = [np.abs(np.diff(heights, axis=2)).mean() for heights in (smooth, rough)]
    assert steps[0] < 0.7 * steps[1]


def test_fog_keeps_the_brightest_value_within_reach_and_lowers_contrast():
    image = rng().random((5, 32, 32, 3))
    found = filters.fog(image, (1.5, 1.75), rng())
    assert found.max() <= image.max() + 1e-9
    assert (found.std(axis=(1, 2)) < image.std(axis=(1, 2))).all()


def test_snow_makes_a_black_image_lighter_and_the_same_seen_from_either_end():
    found = filters.snow(np.zeros((3, 32, 32, 3)), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8), rng())
    np.testing.assert_allclose(found, found[:, ::-1, ::-1], atol=1e-9)
    assert found.min() >= 0.1 - 1e-9  # black, drawn towards grey
    assert found.max() > 0.3


def test_edges_of_a_square_are_its_border_and_a_flat_image_has_none():
    images = np.zeros((2, 16, 16), np.uint8)
    images[0, 4:12, 4:12] = 200
    edges = filters.canny(images)
    assert not edges[1].any()
    assert not edges[0, 6:10, 6:10].any()
    ring = edges[0]
    assert ring[3:5, 6].any()
    assert ring[11:13, 6].any()
    assert ring[6, 3:5].any()
    assert ring[6, 11:13].any()


def test_a_weak_edge_counts_where_it_goes_on_from_a_strong_one():
    """Steps of 20 have a gradient of 80, between the thresholds; one of 100, 400."""
    image = np.zeros((1, 12, 12), np.uint8)
    image[0, :, 6:] = 20
    assert not filters.canny(image).any()
    image[0, :4, 6:] = 100
    assert filters.canny(image)[0, 8].any()


def test_drops_are_lit_on_one_side_and_an_image_without_drops_stays():
    assert filters._lit(np.zeros((2, 16, 16), np.uint8)).max() == 0
    drops = np.zeros((1, 16, 16), np.uint8)
    drops[0, 4:12, 4:12] = 200
    found = filters._lit(drops)[0]
    assert found.max() == 1
    assert found[drops[0] == 0].max() == 0


def test_levels_are_equalised_by_their_frequency():
    """Levels 0, 0, 3 and 7: nothing lies below the first, half of the rest below 7."""
    image = np.array([[[0, 0], [3, 7]]])
    assert filters._equalised(image).tolist() == [[[0, 0], [128, 255]]]
    assert filters._equalised(np.full((1, 2, 2), 9)).tolist() == [[[9, 9], [9, 9]]]


def test_mud_covers_with_its_own_colour_and_leaves_the_rest():
    white = np.ones((4, 32, 32, 3))
    found = filters.spatter(white, (0.65, 0.1, 0.5, 0.68, 0.6, 1), rng())
    covered = (found < 1).any(axis=3)
    assert 0 < covered.mean() < 0.5
    assert (found[~covered] == 1).all()
    darkest = found[covered].min(axis=0)
    np.testing.assert_allclose(darkest, filters.MUD, atol=0.1)
