"""CIFAR-10-C's corruptions of images, by family and severity.

Constants and functions are those of Hendrycks and Dietterich 2019, as their make_cifar_c.py has them, for a batch of
images at once and from a seeded generator. They were chosen for 32 pixels: lengths such as a blur's width are the same
on images of other sizes, so that larger images are corrupted less and smaller ones more. `frost` pastes photographs
that no package holds, and can only be measured on the official files, see `read`.
"""

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.core.errors import UserError
from src.robustness import filters

FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
NAMES = tuple(name for names in FAMILIES.values() for name in names)
# Meant for tuning against corruptions: the benchmark's mean is over the other fifteen.
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = (1, 2, 3, 4, 5)
BLOCK = 2**20  # pixels that are corrupted at once: 25 MB for each copy

# For each severity, from 1 to 5.
CONSTANTS: dict[str, tuple[Any, ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # deviation
    "shot_noise": (500, 250, 100, 75, 50),  # photons of a white pixel
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # share of values
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),  # deviation, of a white pixel
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),  # the disk's radius, its own blur
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),  # deviation, reach, rounds
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),  # radius, deviation
    "zoom_blur": tuple(np.arange(1, end, 0.01) for end in (1.06, 1.11, 1.16, 1.21, 1.26)),  # factors
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),  # deviation in pixels
    # The flakes' mean and deviation, how much they are enlarged, the least that is seen, their motion's radius and
    # deviation, and how much of the image's colours stays.
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),  # how thick, how smooth
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added to the value
    # The liquid's mean, deviation, blur and the least that is seen; how strong or smooth it is; 0 water, 1 mud.
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    # Shares of the image's side: how far pixels move, how smoothly, and how far three corners do.
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # of the resolution
    "jpeg_compression": (80, 65, 58, 50, 40),  # quality
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),  # factor and summand
}


def corrupt(images: np.ndarray, name: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Corrupt images (n, H, W, 3) uint8; the result has the same form.

    Args:
        name: one of `NAMES` but for frost.
        severity: 1 to 5.
    """
    function, constant = FUNCTIONS[name], CONSTANTS[name][severity - 1]
    step = max(1, BLOCK // (images.shape[1] * images.shape[2]))
    corrupted = np.empty_like(images)
    for start in range(0, len(images), step):
        changed = function(images[start : start + step] / 255, constant, rng)
        # Cut off and not rounded, as in the official files.
        corrupted[start : start + step] = (np.clip(changed, 0, 1) * 255).astype(np.uint8)
    return corrupted


def _gaussian_noise(x: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    return x + rng.normal(scale=scale, size=x.shape)


def _shot_noise(x: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(x * photons) / photons


def _impulse_noise(x: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper, half each, for every colour of a pixel on its own."""
    hit, salt = rng.random(x.shape) < share, rng.random(x.shape) < 0.5
    return np.where(hit, salt, x)


def _speckle_noise(x: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    return x + x * rng.normal(scale=scale, size=x.shape)


def _contrast(x: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    mean = x.mean(axis=(1, 2), keepdims=True)
    return (x - mean) * factor + mean


def _saturate(x: np.ndarray, constant: tuple[float, float], _: np.random.Generator) -> np.ndarray:
    factor, summand = constant
    return filters.change_hsv(x, 1, lambda saturation: saturation * factor + summand)


def _each(x: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Change each image by Pillow, as uint8."""
    images = (Image.fromarray(image) for image in np.rint(x * 255).astype(np.uint8))
    # The summand keeps cutting off later from losing a level.
    return (np.stack([np.asarray(change(image)) for image in images]) + 1e-6) / 255


def _jpeg_compression(x: np.ndarray, quality: int, _: np.random.Generator) -> np.ndarray:
    def compress(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each(x, compress)


def _pixelate(x: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    height, width = x.shape[1:3]
    small = int(width * share), int(height * share)
    box = Image.Resampling.BOX
    return _each(x, lambda image: image.resize(small, box).resize((width, height), box))


FUNCTIONS: dict[str, Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "speckle_noise": _speckle_noise,
    "defocus_blur": filters.defocus,
    "glass_blur": filters.glass,
    "motion_blur": filters.motion,
    "zoom_blur": filters.zoom,
    "gaussian_blur": filters.gaussian,
    "snow": filters.snow,
    "fog": filters.fog,
    "brightness": filters.brightness,
    "spatter": filters.spatter,
    "contrast": _contrast,
    "elastic_transform": filters.elastic,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
    "saturate": _saturate,
}


def require_packages() -> None:
    """Refuse to corrupt images here without the package that `spatter` needs.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("cv2") is None:
        raise UserError(
            "robustness.corrupted = null: spatter needs the package opencv-python-headless; run pip install -r "
            "requirements-robustness.txt, or set robustness.corrupted to the folder of the official files"
        )


def read(folder: Path, name: str, severity: int, index: np.ndarray, total: int) -> np.ndarray:
    """The chosen test images (n, 32, 32, 3) uint8, corrupted, from the official files.

    Args:
        index: (n,) positions in the dataset's own order of its `total` test images.

    Raises:
        UserError: the file is missing, or does not hold what it should.
    """
    images = _open(folder / f"{name}.npy")
    shape = (total * len(SEVERITIES), 32, 32, 3)
    if images.shape != shape or images.dtype != np.uint8:
        raise UserError(
            f"robustness.corrupted: {folder / name}.npy holds {images.dtype} {images.shape}; allowed is uint8 {shape}, "
            "the official file"
        )
    return np.array(images[(severity - 1) * total + index])


def require_same_order(folder: Path, labels: np.ndarray) -> None:
    """Refuse official files whose labels are not those of the test images (N,) for each severity in turn.

    Raises:
        UserError: the images are others, or in another order.
    """
    official = _open(folder / "labels.npy")
    if not np.array_equal(official, np.tile(labels, len(SEVERITIES))):
        raise UserError(
            f"robustness.corrupted = {folder}: its labels.npy is not in the order of this dataset's test images; "
            "allowed with dataset: cifar10 are the files of CIFAR-10-C, with cifar100 those of CIFAR-100-C; null "
            "corrupts here"
        )


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UserError(
            f"robustness.corrupted: {path} {why}; put the official file there, or set robustness.corrupted to null"
        ) from None
