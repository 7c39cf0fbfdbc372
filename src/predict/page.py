"""The picture page: each photo, what the network sees of it, and the likeliest classes; one file without a network."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from src.predict.arm import Arm
from src.predict.photos import Answered
from src.report import mistakes, page
from src.storage import files

TEMPLATES = Path(__file__).with_name("templates")
SHOWN = 5  # classes of a photo
LONGEST = 60  # characters of a photo's name, of which the end is shown
SMALL = 192  # pixels, below which a photo is enlarged


def write(path: Path, arm: Arm, rows: Sequence[Mapping[str, Any]], sentences: Sequence[str]) -> None:
    """Write the page.

    Args:
        rows: see `row`.
        sentences: what to know of the confidences.
    """
    variables = {"arm": arm, "rows": rows, "sentences": sentences}
    files.write_text(path, page.render(variables, "predict.html", TEMPLATES))


def row(name: str, answered: Answered) -> dict[str, Any]:
    """The variables of one photo, which people call `name`."""
    return {
        "name": name,
        "short": name if len(name) <= LONGEST else f"\N{HORIZONTAL ELLIPSIS}{name[1 - LONGEST :]}",
        "photo": jpeg_uri(answered.photo),
        "size": answered.photo.size,
        "small": max(answered.photo.size) < SMALL,
        "seen": mistakes.thumbnail(answered.seen),
        "classes": answered.classes[:SHOWN],
    }


def jpeg_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
