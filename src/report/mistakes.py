"""The test images that one or both of two arms got wrong, as thumbnails."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image
from scipy.special import softmax

MOST = 12  # images of each kind
SIDE = 96  # CSS pixels that a thumbnail takes at most


def groups(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, index: np.ndarray, raw: np.ndarray, most: int = MOST
) -> list[dict[str, Any]]:
    """Both wrong, only the first wrong, only the second wrong: how many, and the most confidently wrong of them.

    Confidence is the probability that an arm gave to its answer, averaged over the arms that were wrong; images
    that tie come in the order of the test set.

    Args:
        first, second: the logits (N, K) of two arms on the same images.
        labels: (N,).
        index: (N,), where the images stand in `raw`.
        raw: (M, H, W, 3) uint8; only the images shown are read.
    """
    answers = np.stack([first.argmax(1), second.argmax(1)])  # (2, N)
    sure = np.stack([softmax(logits.astype(np.float64), axis=1).max(1) for logits in (first, second)])  # (2, N)
    wrong = answers != labels  # (2, N)
    found = []
    for name, chosen in (
        ("both", wrong.all(0)),
        ("first", wrong[0] & ~wrong[1]),
        ("second", wrong[1] & ~wrong[0]),
    ):
        places = np.flatnonzero(chosen)
        doubt = -(sure * wrong).sum(0)[places] / wrong.sum(0)[places]
        shown = places[np.argsort(doubt, kind="stable")[:most]]
        images = [_image(place, answers, sure, labels, index, raw) for place in shown]
        found.append({"name": name, "total": len(places), "images": images})
    return found


def _image(
    place: int, answers: np.ndarray, sure: np.ndarray, labels: np.ndarray, index: np.ndarray, raw: np.ndarray
) -> dict[str, Any]:
    said = [
        {"label": int(answers[arm, place]), "sure": float(sure[arm, place]), "right": bool(right)}
        for arm, right in enumerate(answers[:, place] == labels[place])
    ]
    number = int(index[place])
    return {"index": number, "label": int(labels[place]), "answers": said, **thumbnail(np.asarray(raw[number]))}


def thumbnail(pixels: np.ndarray, side: int = SIDE) -> dict[str, Any]:
    """An image (H, W, 3) uint8 as a PNG data URI, and the size at which the page shows it.

    Small images keep their pixels, which the page enlarges by a whole number; large ones are reduced to `side`.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    scale = max(1, side // max(image.size))
    return {"uri": png_uri(image), "width": image.width * scale, "height": image.height * scale}


def png_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return data_uri(file.getvalue())


def data_uri(png: bytes) -> str:
    """The bytes of a PNG file as an address that needs no network."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
