"""CIFAR-10-C's corruptions that put something before the image. For `corruptions`, whose constants they take.

Images are (b, H, W, 3) in [0, 1]; what is returned may leave that range.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from scipy import ndimage

from src import blurs

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
    flakes = blurs.enlarged(rng.normal(mean, deviation, x.shape[:3]), factor)  # (b, H, W)
    flakes = np.floor(np.clip(np.where(flakes < least, 0, flakes), 0, 1) * 255) / 255
    flakes = blurs.moved(flakes, radius, sigma, angles=rng.uniform(-135, -45, len(x)))
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
