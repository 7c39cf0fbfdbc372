"""Checks tell an attack that fails from one that chance made a little worse."""

import numpy as np
import pytest

from src.robustness import attacks


def right(*positions: int, n: int = 20) -> np.ndarray:
    result = np.zeros(n, bool)
    result[list(positions)] = True
    return result


def many(count: int) -> np.ndarray:
    return right(*range(count))


def test_the_worst_counts_images_that_no_real_attack_breaks():
    attacked = {
        **{("noise", 1.0): right(0), ("pgd_short", 1.0): right(), ("pgd", 1.0): right(0, 1, 2)},
        ("fgsm", 1.0): right(1, 2, 3),
    }
    assert attacks.worst(attacked)[1.0].tolist() == right(1, 2).tolist()
    assert attacks.worst({("noise", 1.0): many(3)}) == {}


def test_attacks_that_do_as_they_must_pass_every_check():
    attacked = {
        **{("noise", size): many(20) for size in (1.0, 2.0, 4.0)},
        **{("pgd_short", 1.0): many(12), ("pgd_short", 2.0): many(8), ("pgd_short", 4.0): many(1)},
        **{("pgd", 1.0): many(11), ("pgd", 2.0): many(8), ("pgd", 4.0): many(0)},
    }
    result = attacks.summarise_checks({"resnet.full": attacked})
    assert (result.made, result.hold, result.broken) == (2 + 3 + 3, 8, [])


@pytest.mark.parametrize(
    ("check", "weak", "strong"),
    [
        ("larger epsilon", ("pgd", 1.0), ("pgd", 2.0)),
        ("beats noise", ("noise", 2.0), ("pgd", 2.0)),
        ("more steps", ("pgd_short", 2.0), ("pgd", 2.0)),
    ],
)
def test_a_stronger_attack_that_is_worse_than_a_weaker_one_is_named(check, weak, strong):
    attacked = {(name, size): many(10) for name in ("noise", "pgd_short", "pgd") for size in (1.0, 2.0)}
    attacked[strong] = many(10) | right(*range(10, 17))  # seven more, of seven that differ: p = 1/128
    result = attacks.summarise_checks({"resnet.full": attacked}).broken
    row = next(row for row in result if row.check == check)
    assert (row.attack, row.epsilon) == strong
    assert (row.than, row.than_epsilon) == weak
    assert (row.helped, row.hurt) == (7, 0)
    assert row.p == pytest.approx(1 / 128)


def test_a_few_images_more_are_chance():
    attacked = {("noise", 1.0): many(10), ("fgsm", 1.0): many(10) | right(11, 12, 13, 14, 15, 16)}
    assert attacks.summarise_checks({"resnet.full": attacked}).broken == []
