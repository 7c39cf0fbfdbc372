"""CIFAR-10-C's blurs and weather, as functions of images (b, H, W, 3) in [0, 1]. Their results may leave that range."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
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
    """Each pixel in turn takes the colour of a random neighbour.

    The published code was meant to swap the two, but it copies, as it assigns views of one array. The official files
    were made by it.
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
    """ImageMagick's motion blur: half a Gaussian along a line; beyond the image its edge is repeated.

    Args:
        x: (b, H, W, ...) in [0, 1].
        angles: (b,) degrees.

    Returns:
        Multiples of 1/255, to which ImageMagick's result was rounded.
    """
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    taps = np.exp(-(steps**2) / (2 * sigma**2))
    each, height, width = np.arange(len(x))[:, None, None], *x.shape[1:3]
    blurred = np.zeros_like(x)
    for step, tap in zip(steps, taps / taps.sum(), strict=True):
        down, across = (np.ceil(step * part(np.deg2rad(angles)) - 0.5).astype(int) for part in (np.sin, np.cos))
        rows = np.clip(np.arange(height) + down[:, None], 0, height - 1)  # (b, H)
        columns = np.clip(np.arange(width) + across[:, None], 0, width - 1)  # (b, W)
        blurred += tap * x[each, rows[:, :, None], columns[:, None, :]]
    return (np.rint(blurred * 255) + 1e-6) / 255  # so that cutting off later does not lose a level


def zoom(x: np.ndarray, factors: Sequence[float], _: np.random.Generator) -> np.ndarray:
    return (x + sum(enlarged(x, factor) for factor in factors)) / (len(factors) + 1)


def enlarged(x: np.ndarray, factor: float) -> np.ndarray:
    """The middle of images (b, H, W, ...), as large as the whole, by bilinear interpolation."""
    rows, columns = (_stretch(side, factor) for side in x.shape[1:3])
    return np.moveaxis(np.tensordot(np.moveaxis(np.tensordot(x, rows, (1, 1)), -1, 1), columns, (2, 1)), -1, 2)


def _stretch(side: int, factor: float) -> np.ndarray:
    """The weights (side, side) of the original pixels in each enlarged one, as in ndimage.zoom."""
    part = int(np.ceil(side / factor))
    large = round(part * factor)
    before, after = (side - part) // 2, (large - side) // 2
    position = np.arange(after, after + side) * (part - 1) / max(1, large - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] + before - np.arange(side)))


def elastic(x: np.ndarray, constant: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """A random affine map, then a smooth random displacement of each pixel."""
    side = x.shape[1]
    far, smooth, corner = (side * part for part in constant)
    x = _sample(x, *_affine(x.shape, corner, rng), mode="mirror")
    fields = ndimage.gaussian_filter(
        rng.uniform(-1, 1, (2, *x.shape[:3])), (0, 0, smooth, smooth), mode="reflect", truncate=3
    )
    rows, columns = np.mgrid[: x.shape[1], : x.shape[2]]
    return _sample(x, rows + far * fields[0], columns + far * fields[1], mode="reflect")


def _affine(shape: tuple[int, ...], reach: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, rows and columns (b, H, W), if three points move by up to `reach` pixels."""
    count, height, width = shape[:3]
    middle, size = np.array([width // 2, height // 2]), min(height, width) // 3
    before = middle + size * np.array([[1, 1], [1, -1], [-1, -1]])  # x and y
    after = before + rng.uniform(-reach, reach, (count, 3, 2))
    # (x, y, 1) after the move times this matrix is (x, y) before it.
    back = np.linalg.solve(np.concatenate([after, np.ones((count, 3, 1))], axis=2), before[None].astype(float))
    rows, columns = np.mgrid[:height, :width]
    origin = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back[:, None]  # (b, H, W, 2)
    return origin[..., 1], origin[..., 0]


def _sample(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, mode: str) -> np.ndarray:
    """Images at positions between pixels, (b, H, W) each, by bilinear interpolation."""
    sampled = np.empty_like(x)
    for image, out, row, column in zip(x, sampled, rows, columns, strict=True):
        for channel in range(x.shape[3]):
            out[..., channel] = ndimage.map_coordinates(image[..., channel], (row, column), order=1, mode=mode)
    return sampled


LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601
WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255


def change_hsv(x: np.ndarray, channel: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Images with another saturation (channel 1) or value (2), kept within [0, 1]."""
    hsv = rgb_to_hsv(x)
    hsv[..., channel] = np.clip(change(hsv[..., channel]), 0, 1)
    return hsv_to_rgb(hsv)


def brightness(x: np.ndarray, summand: float, _: np.random.Generator) -> np.ndarray:
    return change_hsv(x, 2, lambda value: value + summand)


def fog(x: np.ndarray, constant: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    thick, decay = constant
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    height, width = x.shape[1:3]
    side = 1 << (max(height, width) - 1).bit_length()
    drifts = plasma(len(x), side, decay, rng)[:, :height, :width, None]
    return (x + thick * drifts) * brightest / (brightest + thick)


def plasma(count: int, side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """Height maps (count, side, side) in [0, 1] by the diamond-square algorithm; `side` is a power of two."""
    heights = np.zeros((count, side, side))
    step, wibble = side, 100.0

    def mean(total: np.ndarray) -> np.ndarray:
        return total / 4 + wibble * rng.uniform(-wibble, wibble, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, half::step] = mean(pairs + np.roll(pairs, -1, axis=2))
        inner, corners = heights[:, half::step, half::step], heights[:, ::step, ::step]
        heights[:, ::step, half::step] = mean(inner + np.roll(inner, 1, 1) + corners + np.roll(corners, -1, 2))
        heights[:, half::step, ::step] = mean(inner + np.roll(inner, 1, 2) + corners + np.roll(corners, -1, 1))
        step, wibble = half, wibble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)


def snow(x: np.ndarray, constant: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    mean, deviation, factor, least, radius, sigma, kept = constant
    flakes = enlarged(rng.normal(mean, deviation, x.shape[:3]), factor)  # (b, H, W)
    flakes = np.floor(np.clip(np.where(flakes < least, 0, flakes), 0, 1) * 255) / 255
    flakes = moved(flakes, radius, sigma, angles=rng.uniform(-135, -45, len(x)))
    grey = x @ LUMA
    pale = kept * x + (1 - kept) * np.maximum(x, (grey * 1.5 + 0.5)[..., None])
    return pale + (flakes + np.rot90(flakes, 2, axes=(1, 2)))[..., None]


def spatter(x: np.ndarray, constant: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    mean, deviation, sigma, least, strength, mud = constant
    liquid = rng.normal(mean, deviation, x.shape[:3])
    liquid = ndimage.gaussian_filter(liquid, (0, sigma, sigma), mode="nearest")
    liquid[liquid < least] = 0
    if not mud:
        drops = np.clip(liquid * 255, 0, 255).astype(np.uint8)
        return x + strength * np.stack([shine(image) for image in drops])[..., None] * WATER
    cover = ndimage.gaussian_filter((liquid > least).astype(float), (0, strength, strength), mode="nearest")
    cover[cover < 0.8] = 0
    return MUD * cover[..., None] + x * (1 - cover[..., None])


def shine(drops: np.ndarray) -> np.ndarray:
    """How much light drops of water (H, W) uint8 reflect, from 0 to 1: more on one side, and far from their edges."""
    import cv2  # of requirements-robustness.txt

    away = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    height = cv2.blur(np.minimum(away, 20), (3, 3)).astype(np.uint8)
    light = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    lit = cv2.blur(cv2.filter2D(cv2.equalizeHist(height), cv2.CV_8U, light), (3, 3))
    reflected = drops * lit.astype(np.float32)
    return reflected / max(reflected.max(), 1)  # an image without drops reflects nothing
