"""Seeds: independent streams from one number, which stay the same for ever."""

import numpy as np
import pytest
import torch

from src.core import seeds


def test_a_stream_is_the_same_for_ever():
    """These numbers may never change: results that people have published start from them."""
    assert seeds.derive(0, "split") == 2515624203271457519
    assert seeds.derive(1, "order", 3) == 4223612658453699740


def test_keys_name_different_streams():
    keys = [("split",), ("head",), ("order", 1), ("order", 2), ("order", 3), ("augment", 1), ("augment1",)]
    result = [seeds.derive(seed, *key) for seed in range(50) for key in keys]
    assert len(set(result)) == len(result)


def test_a_key_that_would_name_the_stream_of_a_shorter_one_is_refused():
    with pytest.raises(ValueError, match="count from 1"):
        seeds.derive(0, "order", 0)


def test_parts_of_a_key_do_not_run_together():
    assert seeds.derive(0, "ab", "c") != seeds.derive(0, "a", "bc")
    assert seeds.derive(0, "order", 12) != seeds.derive(0, "order", 1, 2)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_every_generator_takes_a_derived_seed(seed):
    derived = seeds.derive(seed, "order", 10_000)
    assert 0 <= derived < 2**63
    torch.Generator().manual_seed(derived)
    np.random.default_rng(derived)


def test_the_generator_of_a_stream_starts_over_at_each_call():
    first, again = seeds.generator(0, "split"), seeds.generator(0, "split")
    np.testing.assert_array_equal(first.random(5), again.random(5))


def test_streams_of_neighbouring_epochs_are_not_correlated():
    """The standard deviation of a correlation of 10,000 pairs is 0.01."""
    draws = np.array([seeds.generator(0, "order", epoch).random(10_000) for epoch in range(1, 7)])
    between = np.corrcoef(draws)[~np.eye(6, dtype=bool)]
    assert np.abs(between).max() < 0.045
