"""Whether a training went on for long enough: early stopping, and what its curve says. For the stages `finetune_*`."""

import math
from collections.abc import Sequence

from src.progress import Epoch, best_of, last_phase

LAST = 2  # epochs by which a curve is judged


def is_over(phase: Sequence[Epoch], patience: int | None) -> bool:
    """Whether the last `patience` epochs of a phase were all worse on validation images than one before them."""
    return patience is not None and bool(phase) and phase[-1].number - best_of(phase).number >= patience


def verdict(history: Sequence[Epoch], images: int) -> str:
    """What a curve says, such as `still improving: +0.4 points over the last 2 epochs`.

    It is that of validation accuracies in the last phase, and the gain is that of the best of the last two epochs over
    the best before them. It is called noise where it is less than the standard error of one accuracy on so many
    images, sqrt(p (1 - p) / n).
    """
    phase = last_phase(history)
    if len(phase) <= LAST:
        return f"too short to tell: {len(phase)} epoch{'s' if len(phase) > 1 else ''}"
    before, after = (max(epoch.val_accuracy for epoch in part) for part in (phase[:-LAST], phase[-LAST:]))
    points, noise = 100 * (after - before), 100 * math.sqrt(after * (1 - after) / images)
    if points <= 0:
        return f"settled: {points:+.1f} points over the last {LAST} epochs"
    if points < noise:
        return f"settled within the noise of {images:,} images: {points:+.1f} points over the last {LAST} epochs"
    return f"still improving: {points:+.1f} points over the last {LAST} epochs"
