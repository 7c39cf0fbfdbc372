"""Untrained heads, many at once."""

import numpy as np
import pytest

from src.readouts import fit
from src.readouts.base import Features
from src.reproduction.heads import right_of_random_heads


def test_they_are_distributed_like_the_read_out_of_that_name():
    rng = np.random.default_rng(0)
    features = rng.normal(1, 1, (300, 8)).astype(np.float32)
    labels = (features[:, 0] + rng.normal(0, 0.5, 300) > 1).astype(np.int64)
    many = right_of_random_heads(features, labels, 2000, np.random.default_rng(1))
    parts = Features(features, labels, features, labels)
    one_by_one = [
        (fit.random_head(parts, rng=np.random.default_rng(seed)).logits(features).argmax(1) == labels).sum()
        for seed in range(2000)
    ]
    assert many.shape == (2000,)
    assert many.mean() == pytest.approx(np.mean(one_by_one), abs=4)  # four standard errors of the difference
    assert many.std() == pytest.approx(np.std(one_by_one), rel=0.1)


def test_images_without_information_are_right_for_one_class_or_the_other():
    counts = right_of_random_heads(np.zeros((10, 4)), np.array([0] * 7 + [1] * 3), 400, np.random.default_rng(0))
    assert set(counts) == {7, 3}  # the bias alone decides, for all images at once
    assert 0.4 < (counts == 7).mean() < 0.6
