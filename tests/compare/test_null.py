"""The verdict's rule on one arm against itself under other seeds: whatever it says to be ahead is an error.

tests/stats/null_right.npz holds which of 5,000 CIFAR-10 images of five classes one arm (EfficientNet-Lite0, fine-tuned)
got right under 20 seeds, a bit each.
"""

import numpy as np
import pytest

from src.compare import questions
from src.compare.config import Compare
from src.records.compare import Contrast
from src.stats.contrasts import Answers

with np.load("tests/stats/null_right.npz") as archive:
    RIGHT = np.unpackbits(archive["right"], axis=1)[:, : int(archive["images"])].astype(bool)  # (20, 5000)
TITLES = {"resnet.full": "first", "convnext.full": "second"}


def asked(first: list[int], second: list[int]) -> Contrast:
    """The question of the arm under some seeds, against itself under others."""
    answers = [
        Answers(str(place), np.arange(RIGHT.shape[1]), {"resnet.full": RIGHT[a], "convnext.full": RIGHT[b]})
        for place, (a, b) in enumerate(zip(first, second, strict=True))
    ]
    return questions.primary(answers, TITLES, "resnet.full", "convnext.full", Compare())


@pytest.mark.parametrize("seeds", [3, 5])
def test_disjoint_draws_of_seeds_are_ahead_at_most_7_times_in_100(seeds):
    """The nominal share is 5 in 100."""
    rng, ahead = np.random.default_rng(0), 0
    for _ in range(300):
        chosen = rng.permutation(len(RIGHT))[: 2 * seeds].tolist()
        ahead += asked(chosen[:seeds], chosen[seeds:]).word == "ahead"
    assert ahead <= 0.07 * 300


def test_one_seed_is_never_ahead_though_images_alone_would_say_so_in_43_of_100_pairs():
    results = [asked([i], [j]) for i in range(20) for j in range(i)]
    assert {result.word for result in results} == {"not settled"}
    assert np.mean([result.p < 0.05 for result in results]) == pytest.approx(0.43, abs=0.02)
