"""What fine-tuning one backbone leaves in `data/results/finetune_<backbone>.json`."""

from src.core.records import Environment, Record, mean


class Training(Record):
    """The training of one method: the epoch that was kept, what the validation curve says, and the cost.

    `history` has the results of every epoch, see `checkpoint.Epoch`; `convergence` is one phrase, see `curve_verdict`;
    `train_images_per_second` that of the median epoch; `train_macs` counts all passes, those of watched images too;
    `peak_memory` is in bytes.
    """

    best_epoch: int
    history: list[dict[str, float]]
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
    """Every training of one backbone, by seed and method."""

    seeds: dict[str, dict[str, Training]]

    @property
    def methods(self) -> dict[str, Training]:
        """The mean over seeds, by method; its history is that of the mean curve."""
        by_seed = list(self.seeds.values())
        return {name: mean([trainings[name] for trainings in by_seed]) for name in by_seed[0]}

    def numbers(self) -> dict[str, dict[str, float]]:
        """What each method reached on the watched images."""
        return {name: {"val_accuracy": training.val_accuracy} for name, training in self.methods.items()}
