"""The band in which one further run falls, over seeds and test images.

Seeds and test images are crossed: every run answers the same n images. A run's mean m over its images is, in the model
of two random factors,

    m_s = mu + seed_s + images + rest_s,

where `images` is the same for all S runs and `rest_s` is what seed and image do together. A further run with another
seed, on as many other test images, differs from the mean of the S runs by

    var = v (1 + 1/S) + 2 w,

where v, the variance over runs, holds seed and rest, and w is the variance of `images`, once in the further run and
once in ours. v is estimated with S - 1 degrees of freedom, w from n images with n - 1; those of the sum are
Satterthwaite's (1946), in which v counts (S + 1) / (S - 1) times, as in `stats.crossed.standard_error`. The band is
mean +- t sqrt(var). For the same test images w is left out, and the band is the usual prediction interval of a normal
sample, mean +- t_(S-1) sqrt(v (1 + 1/S)).

In simulations of right and wrong answers the band of 95 % holds a further run 94 to 96 times in 100 with five seeds,
and that of 99.67 % (15 at once) 99.5 to 99.6 times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from src.core.errors import UserError
from src.stats.crossed import Row, components


@dataclass(frozen=True)
class Band:
    """The mean and standard deviation over runs, and the band in which one further run falls."""

    mean: float
    sd: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def possible(self, highest: float) -> "Band":
        """The part of the band between 0 and `highest`; the mean stays inside."""
        return replace(self, low=max(0.0, self.low), high=min(highest, self.high))


def image_variance(values: np.ndarray) -> float:
    """w, the variance of a mean over the n images that runs share, from `values` (S, n) of S runs; 0 or more."""
    index = np.arange(values.shape[1])
    return float(components([Row(str(number), index, row) for number, row in enumerate(values)]).images)


def further_run(means: Sequence[float], shared: float, n: int, confidence: float) -> Band:
    """The band of one further run.

    Args:
        means: of S runs.
        shared: w, see `image_variance`; 0 for the same test images, or what was not measured on test images.
        n: test images.

    Raises:
        UserError: there is a single run.
    """
    runs = len(means)
    if runs < 2:
        raise UserError("one run shows no spread over seeds; give --seeds two or more, such as 0 1 2 3 4")
    mean, sd = float(np.mean(means)), float(np.std(means, ddof=1))
    parts = np.array([sd**2 * (1 + 1 / runs), 2 * shared])
    wide = parts * ((runs + 1) / (runs - 1), 1)
    freedom = wide.sum() ** 2 / (wide**2 / (runs - 1, n - 1)).sum() if wide.any() else runs - 1
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom) * parts.sum() ** 0.5)
    return Band(mean, sd, mean - reach, mean + reach)


def simultaneous(confidence: float, count: int) -> float:
    """The level of each of `count` bands that all hold at once with `confidence` or more (Bonferroni).

    It needs no estimate of how the values of one run depend on one another, for which five seeds are too few.
    """
    return 1 - (1 - confidence) / count
