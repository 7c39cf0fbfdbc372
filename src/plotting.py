"""Colours, markers, labels and legends that all figures use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from collections.abc import Collection
from functools import cache

# The palette of Okabe and Ito, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MOST_NAMES = 20  # classes in a figure: the names and cell values of more would overlap


def plain(text: str) -> str:
    """Escape `$`, which matplotlib would read as the beginning of a formula, and signs that its font lacks.

    Those would all become the same box: 猫 is drawn as \\u732b. Another font of the machine might have them, but
    pictures would then differ from machine to machine.
    """
    glyphs = _glyphs()
    signs = (sign if ord(sign) in glyphs or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text)
    return "".join(signs).replace("$", r"\$")


@cache
def _glyphs() -> Collection[int]:
    """The signs that the font of all pictures has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties())).get_charmap().keys()


def short(name: str) -> str:
    """A class name on one line, cut to a label of 24 characters."""
    name = " ".join(name.split())
    return plain(name if len(name) <= 24 else name[:23] + "…")


# Each backbone has a hue; its frozen cell has the lighter shade.
CELL_COLOURS = {
    "resnet.finetuned": COLOURS[0],
    "resnet.frozen": COLOURS[4],
    "convnext.finetuned": COLOURS[5],
    "convnext.frozen": COLOURS[1],
}
MARKERS = {"resnet": "o", "convnext": "s"}


def legend_below(figure: "Figure", *handles_and_labels: Any, **options: Any) -> None:
    """Put a legend below the axes: in two columns, or in one where two would be wider than the figure."""
    for columns in (2, 1):
        legend = figure.legend(*handles_and_labels, loc="outside lower center", ncols=columns, frameon=False, **options)
        figure.draw_without_rendering()
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()
