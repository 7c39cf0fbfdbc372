"""The test images that one or both of two arms got wrong, as thumbnails."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.special import softmax

from src.storage.raw import StoredImages

MOST = 12  # images of each kind
SIDE = 96  # CSS pixels that a thumbnail takes at most


@dataclass(frozen=True)
class Prediction:
    """The class that an arm gave an image, and with which probability."""

    label: int
    confidence: float
    right: bool


@dataclass(frozen=True)
class Thumbnail:
    """An image as a PNG data URI, and the size in CSS pixels at which the page shows it."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Mistake:
    """An image by its position among all test images, its true label, and what both arms predicted."""

    index: int
    label: int
    predictions: list[Prediction]
    thumbnail: Thumbnail


@dataclass(frozen=True)
class Group:
    """The images that `both` arms, only the `first`, or only the `second` got wrong: how many, and some of them."""

    name: str
    total: int
    images: list[Mistake]


def groups(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    index: np.ndarray,
    raw: np.ndarray | StoredImages,
    most: int = MOST,
) -> list[Group]:
    """The images that both arms, only the first, or only the second got wrong; the most confidently wrong are shown.

    Confidence is the probability of the predicted class, averaged over the arms that were wrong. Images that tie come
    in the order of the test set.

    Args:
        first, second: the logits (N, K) of two arms on the same images.
        labels: (N,).
        index: (N,), the positions of the images in `raw`.
        raw: (M, H, W, 3) uint8; only the images shown are read.
        most: images of each group that are shown.
    """
    predicted = np.stack([first.argmax(1), second.argmax(1)])  # (2, N)
    confidence = np.stack([softmax(logits.astype(np.float64), axis=1).max(1) for logits in (first, second)])  # (2, N)
    wrong = predicted != labels  # (2, N)
    kinds = {"both": wrong.all(0), "first": wrong[0] & ~wrong[1], "second": wrong[1] & ~wrong[0]}

    def mistake(position: int) -> Mistake:
        pairs = zip(predicted[:, position].tolist(), confidence[:, position].tolist(), strict=True)
        label, number = int(labels[position]), int(index[position])
        predictions = [Prediction(guess, share, guess == label) for guess, share in pairs]
        return Mistake(number, label, predictions, thumbnail(raw[number]))

    named = []
    for name, chosen in kinds.items():
        positions = np.flatnonzero(chosen)
        mean = (confidence * wrong).sum(0)[positions] / wrong.sum(0)[positions]
        shown = positions[np.argsort(-mean, kind="stable")[:most]]
        named.append(Group(name, len(positions), [mistake(position) for position in shown.tolist()]))
    return named


def thumbnail(pixels: np.ndarray, side: int = SIDE) -> Thumbnail:
    """An image (H, W, 3) uint8, made for the page.

    Small images keep their pixels, which the page enlarges by a whole number; large ones are reduced to `side`.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    scale = max(1, side // max(image.size))
    return Thumbnail(png_uri(image), image.width * scale, image.height * scale)


def png_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return data_uri(file.getvalue())


def data_uri(png: bytes) -> str:
    """The bytes of a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
