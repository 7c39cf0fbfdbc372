"""CIFAR-10-C's corruptions that move light from pixel to pixel. For `corruptions`, whose constants they take.

Images are (b, H, W, 3) in [0, 1]; what is returned may leave that range.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def gaussian(x: np.ndarray, sigma: float, _: np.random.Generator | None = None) -> np.ndarray:
    return ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest")


def defocus(x: np.ndarray, constant: tuple[float, float], _: np.random.Generator) -> np.ndarray:
    return ndimage.correlate(x, disk(*constant)[None, :, :, None], mode="mirror")


def disk(radius: float, sigma: float) -> np.ndarray:
    """A lens's circle of confusion, (17, 17), its edge softened by three taps of a Gaussian; its sum is 1."""
    at = np.arange(-8, 9)
    sharp = (at[:, None] ** 2 + at**2 <= radius**2).astype(float)
    taps = np.exp(-(np.arange(-1, 2) ** 2) / (2 * sigma**2))
    soft = ndimage.convolve(sharp / sharp.sum(), np.outer(taps, taps) / taps.sum() ** 2, mode="constant")
    return soft / soft.sum()


def glass(x: np.ndarray, constant: tuple[float, int, int], rng: np.random.Generator) -> np.ndarray:
    """Pixels take the colour of a neighbour up or left, one after the other.

    The published code means to swap the two; its assignment, of views of one array, copies. The official files were
    made so.
    """
    sigma, reach, rounds = constant
    whole = np.floor(gaussian(x, sigma) * 255)
    count, height, width = x.shape[:3]
    each = np.arange(count)
    for _ in range(rounds):
        moves = rng.integers(-reach, reach, (height, width, 2, count))
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                across, down = moves[row - 1, column - 1]
                whole[:, row, column] = whole[each, row + down, column + across]
    return gaussian(whole / 255, sigma)


def motion(x: np.ndarray, constant: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    return moved(x, *constant, angles=rng.uniform(-45, 45, len(x)))


def moved(x: np.ndarray, radius: float, sigma: float, *, angles: np.ndarray) -> np.ndarray:
    """ImageMagick's motion blur: half a Gaussian along a line, the image's edge repeated beyond it.

    Args:
        x: (b, H, W, ...) in [0, 1].
        angles: (b,) degrees.

    Returns:
        Multiples of 1/255, to which ImageMagick's result was rounded.
    """
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    taps = np.exp(-(steps**2) / (2 * sigma**2))
    each, height, width = np.arange(len(x))[:, None, None], *x.shape[1:3]
    found = np.zeros_like(x)
    for step, tap in zip(steps, taps / taps.sum(), strict=True):
        down, across = (np.ceil(step * part(np.deg2rad(angles)) - 0.5).astype(int) for part in (np.sin, np.cos))
        rows = np.clip(np.arange(height) + down[:, None], 0, height - 1)  # (b, H)
        columns = np.clip(np.arange(width) + across[:, None], 0, width - 1)  # (b, W)
        found += tap * x[each, rows[:, :, None], columns[:, None, :]]
    return (np.rint(found * 255) + 1e-6) / 255  # what cuts off later must not lose one


def zoom(x: np.ndarray, factors: Sequence[float], _: np.random.Generator) -> np.ndarray:
    return (x + sum(enlarged(x, factor) for factor in factors)) / (len(factors) + 1)


def enlarged(x: np.ndarray, factor: float) -> np.ndarray:
    """The middle of images (b, H, W, ...), as large as the whole, by bilinear interpolation."""
    rows, columns = (_stretch(side, factor) for side in x.shape[1:3])
    return np.moveaxis(np.tensordot(np.moveaxis(np.tensordot(x, rows, (1, 1)), -1, 1), columns, (2, 1)), -1, 2)


def _stretch(side: int, factor: float) -> np.ndarray:
    """What each of `side` enlarged pixels takes of the `side` there were, (side, side), as ndimage.zoom does."""
    part = int(np.ceil(side / factor))
    large = round(part * factor)
    before, after = (side - part) // 2, (large - side) // 2
    place = np.arange(after, after + side) * (part - 1) / max(1, large - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] + before - np.arange(side)))


def elastic(x: np.ndarray, constant: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """Three corners move, and the plane with them; then each pixel does, neighbours alike."""
    side = x.shape[1]
    far, smooth, corner = (side * part for part in constant)
    x = _sample(x, *_affine(x.shape, corner, rng), mode="mirror")
    fields = ndimage.gaussian_filter(
        rng.uniform(-1, 1, (2, *x.shape[:3])), (0, 0, smooth, smooth), mode="reflect", truncate=3
    )
    rows, columns = np.mgrid[: x.shape[1], : x.shape[2]]
    return _sample(x, rows + far * fields[0], columns + far * fields[1], mode="reflect")


def _affine(shape: tuple[int, ...], reach: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """From where each pixel comes, rows and columns (b, H, W), when three points move by up to `reach` pixels."""
    count, height, width = shape[:3]
    middle, size = np.array([width // 2, height // 2]), min(height, width) // 3
    before = middle + size * np.array([[1, 1], [1, -1], [-1, -1]])  # x and y
    after = before + rng.uniform(-reach, reach, (count, 3, 2))
    # Rows of (x, y, 1) after the move, times this, are those before it.
    back = np.linalg.solve(np.concatenate([after, np.ones((count, 3, 1))], axis=2), before[None].astype(float))
    rows, columns = np.mgrid[:height, :width]
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back[:, None]  # (b, H, W, 2)
    return places[..., 1], places[..., 0]


def _sample(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, mode: str) -> np.ndarray:
    """Images at places between pixels, (b, H, W) each, by bilinear interpolation."""
    found = np.empty_like(x)
    for image, out, row, column in zip(x, found, rows, columns, strict=True):
        for channel in range(x.shape[3]):
            out[..., channel] = ndimage.map_coordinates(image[..., channel], (row, column), order=1, mode=mode)
    return found
