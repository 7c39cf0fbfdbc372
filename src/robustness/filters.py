"""CIFAR-10-C's blurs and weather: corruptions that move light between pixels or put something before the image.

Images are (b, H, W, 3) in [0, 1]; what is returned may leave that range.
"""

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


LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601
WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
WEAK, STRONG = 50, 150  # gradients from which on Canny's edges go on, and begin
TG22 = 13573  # tan(22.5 degrees) in units of 2**-15


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
        return x + strength * _lit(np.clip(liquid * 255, 0, 255).astype(np.uint8))[..., None] * WATER
    cover = ndimage.gaussian_filter((liquid > least).astype(float), (0, strength, strength), mode="nearest")
    cover[cover < 0.8] = 0
    return MUD * cover[..., None] + x * (1 - cover[..., None])


def _lit(liquid: np.ndarray) -> np.ndarray:
    """How drops (b, H, W) uint8 shine, at most 1 in each image: more the farther from their edge, from one side."""
    away = 255 - 255 * canny(liquid).astype(np.uint8)
    # Images so far apart that each finds its own edges first; those without any are far from all.
    distance = ndimage.distance_transform_edt(away, sampling=(1e6, 1, 1)) if not away.all() else np.full(away.shape, 20)
    smooth = np.floor(ndimage.uniform_filter(np.minimum(distance, 20), (0, 3, 3), mode="mirror") + 1e-9)
    shade = np.array([[[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]])
    lit = np.clip(ndimage.correlate(_equalised(smooth.astype(int)), shade, mode="mirror"), 0, 255)
    shining = liquid * np.rint(ndimage.uniform_filter(lit.astype(float), (0, 3, 3), mode="mirror"))
    return shining / np.maximum(shining.max(axis=(1, 2), keepdims=True), 1)  # an image without drops has none


def _equalised(images: np.ndarray) -> np.ndarray:
    """Images (b, H, W) of 0..255 whose levels are about equally frequent, as OpenCV's equalizeHist does."""
    found = images.copy()
    for image, out in zip(images, found, strict=True):
        counts = np.bincount(image.ravel(), minlength=256)
        darkest = image.min()
        if counts[darkest] < image.size:
            above = np.cumsum(counts) - counts[darkest]
            out[:] = np.rint(above * (255 / (image.size - counts[darkest])))[image]
    return found


def canny(images: np.ndarray) -> np.ndarray:
    """Edges of grey images (b, H, W) uint8, (b, H, W) bool: Canny 1986, in whole numbers as OpenCV computes it."""
    x, y = (_sobel(images, axis) for axis in (2, 1))
    size = np.abs(x) + np.abs(y)
    steep, flat = np.abs(y) << 15, np.abs(x) * TG22
    level = (size > _shifted(size, 0, -1)) & (size >= _shifted(size, 0, 1))
    upright = (size > _shifted(size, -1, 0)) & (size >= _shifted(size, 1, 0))
    falling = (size > _shifted(size, -1, -1)) & (size > _shifted(size, 1, 1))
    rising = (size > _shifted(size, -1, 1)) & (size > _shifted(size, 1, -1))
    slanted = np.where((x ^ y) < 0, rising, falling)
    peak = np.where(steep < flat, level, np.where(steep > flat + (np.abs(x) << 16), upright, slanted))
    ridge = peak & (size > WEAK)
    within = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # neighbours in the same image
    parts, count = ndimage.label(ridge, within)
    strong = np.zeros(count + 1, bool)
    strong[parts[ridge & (size > STRONG)]] = True
    return strong[parts] & ridge


def _sobel(images: np.ndarray, axis: int) -> np.ndarray:
    """The derivative along one axis of each image; ndimage's own would smooth along the batch too."""
    change = ndimage.correlate1d(images.astype(int), [-1, 0, 1], axis, mode="nearest")
    return ndimage.correlate1d(change, [1, 2, 1], 3 - axis, mode="nearest")


def _shifted(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """For each pixel the one so many rows below and columns to the right; 0 beyond the edge."""
    height, width = images.shape[1:]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return padded[:, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
