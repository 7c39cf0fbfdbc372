"""Numbers of one arm in, matplotlib Figure out; never saves."""

# Okabe and Ito's palette, told apart by people with any colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MOST_NAMES = 20  # classes; beyond it names and cell values would overlap


def plain(text: str) -> str:
    """Text of which matplotlib takes no dollar sign for mathematics."""
    return text.replace("$", r"\$")


def short(name: str) -> str:
    """A class name as a label of at most 24 characters."""
    return plain(name if len(name) <= 24 else name[:23] + "…")


# A backbone has a hue, in which the frozen cell is the lighter one; all are Okabe and Ito's.
CELL_COLOURS = {
    "resnet.finetuned": COLOURS[0],
    "resnet.frozen": COLOURS[4],
    "convnext.finetuned": COLOURS[5],
    "convnext.frozen": COLOURS[1],
}
MARKERS = {"resnet": "o", "convnext": "s"}
