"""A grid of values on a logarithmic scale."""


def around(centre: float, count: int, *, step: float, reach: float) -> list[float]:
    """Values from the centre outward, of two at one distance the larger first.

    A longer grid contains a shorter one, unless it would go too far.

    Args:
        step: decades between neighbours.
        reach: decades from the centre at most; of many values, neighbours are nearer to each other instead.
    """
    step = min(step, reach / max(1, count // 2))
    offsets = [(number + 1) // 2 * (1 if number % 2 else -1) for number in range(count)]
    return [centre * 10 ** (step * offset) for offset in offsets]
