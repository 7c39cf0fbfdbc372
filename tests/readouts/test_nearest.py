"""Nearest neighbours: those that sorting all cosines gives, whatever the blocks."""

import numpy as np

from src.readouts import nearest


def test_the_most_similar_are_found_in_order_and_in_any_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    x, train = (nearest.unit(rng.normal(size=(count, 5)).astype(np.float32)) for count in (7, 30))
    cosines = x @ train.T
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :4]
    for block in (512, 3):
        monkeypatch.setattr(nearest, "BLOCK", block)
        result, indices = nearest.most_similar(x, train, 4)
        assert np.array_equal(indices, expected)
        np.testing.assert_allclose(result, np.take_along_axis(cosines, expected, 1), rtol=1e-6)


def test_a_row_of_zeros_has_no_direction_and_stays():
    assert nearest.unit(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [0.6, 0.8]]
