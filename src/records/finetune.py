"""What fine-tuning one backbone leaves in `data/results/finetune_<backbone>.json`."""

from src.core.records import Environment, Record


class Training(Record):
    """The training of one method: the epoch that was kept, what the validation curve says, and the cost.

    `convergence` is one phrase, see `curve_verdict`; `train_images_per_second` that of the median epoch; `train_macs`
    counts forward and backward passes; `peak_memory` is in bytes.
    """

    best_epoch: int
    val_accuracy: float
    convergence: str
    trained_parameters: int
    images: int
    train_seconds: float
    train_images_per_second: float
    train_macs: int
    peak_memory: int
    environment: Environment


class Trainings(Record):
    """Every training of one backbone, by method."""

    methods: dict[str, Training]
