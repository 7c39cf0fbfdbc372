"""Whether attacks do what they must, and what none of them gets wrong. For `robustness_results`.

`attacked` are the images (n,) that an arm gets right, by attack and epsilon.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from src.attacks import NOISE, SHORT

Attacked = Mapping[tuple[str, float], np.ndarray]

CHANCE = 0.01  # the probability below which a stronger attack that does worse is none


def _real(attacked: Attacked) -> list[str]:
    """The attacks; noise, and the PGD of fewer steps, are there to be compared with."""
    return list(dict.fromkeys(name for name, _ in attacked if name not in (NOISE, SHORT)))


def worst(attacked: Attacked) -> dict[float, np.ndarray]:
    """By epsilon, the images (n,) that no attack of that size gets wrong; nothing where there was no attack."""
    names = _real(attacked)
    sizes = dict.fromkeys(size for _, size in attacked)
    return {size: np.all([attacked[name, size] for name in names], axis=0) for size in sizes} if names else {}


def summary(attacked: Mapping[str, Attacked]) -> dict[str, Any]:
    """How many of the checks were made and hold, and those that do not."""
    rows = sanity(attacked)
    broken = [row for row in rows if not row["holds"]]
    return {"made": len(rows), "hold": len(rows) - len(broken), "broken": broken}


def sanity(attacked: Mapping[str, Attacked]) -> list[dict[str, Any]]:
    """Whether a larger epsilon, more steps, and an attack in place of noise, never help the network.

    Each check compares the images that an arm gets right under the stronger attack alone (`helped`) with those under
    the weaker alone (`hurt`); `p` is the exact sign test's probability of so many helped, or more, by chance.
    """
    rows = []
    for arm, found in attacked.items():
        real, sizes = _real(found), sorted({size for _, size in found})
        pairs = [("larger epsilon", (name, small), (name, large)) for name in real for small, large in pairwise(sizes)]
        pairs += [("beats noise", (NOISE, size), (name, size)) for name in real for size in sizes]
        if (SHORT, sizes[0]) in found:
            pairs += [("more steps", (SHORT, size), ("pgd", size)) for size in sizes]
        rows += [{"arm": arm, "check": check, **_check(found, weak, strong)} for check, weak, strong in pairs]
    return rows


def _check(found: Attacked, weak: tuple[str, float], strong: tuple[str, float]) -> dict[str, Any]:
    helped, hurt = int((found[strong] & ~found[weak]).sum()), int((found[weak] & ~found[strong]).sum())
    p = float(stats.binomtest(helped, helped + hurt, alternative="greater").pvalue) if helped + hurt else 1.0
    shown = {"attack": strong[0], "epsilon": strong[1], "than": weak[0], "than_epsilon": weak[1]}
    return {**shown, "helped": helped, "hurt": hurt, "p": p, "holds": p >= CHANCE}
