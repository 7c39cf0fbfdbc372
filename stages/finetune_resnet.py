"""The legacy arm: the whole network trained on the subset, the best epoch by validation kept."""

import itertools
from collections.abc import Iterable
from typing import Any

from dvclive import Live
from torch import Tensor, nn

from src import files, images, models, runtime, seeds, training
from src.params import Settings
from src.training import Epoch
from stages import run


def follow(epochs: Iterable[Epoch], model: nn.Module, folder: str) -> tuple[list[Epoch], Epoch, dict[str, Tensor]]:
    """Log every epoch as it ends; all of them, the best by validation, and the weights that it had."""
    history: list[Epoch] = []
    with Live(folder, dvcyaml=False, save_dvc_exp=False) as live:
        for epoch in epochs:
            if all(epoch.beats(other) for other in history):
                best, kept = epoch, {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            history.append(epoch)
            live.step = epoch.number
            for part, kind in itertools.product(("train", "val"), ("loss", "accuracy")):
                live.log_metric(f"{part}/{kind}", getattr(epoch, f"{part}_{kind}"))
            live.make_summary()
            print(epoch, flush=True)
    return history, best, kept


def main(settings: Settings) -> None:
    device = runtime.choose_device(settings.device)
    subset = files.read_arrays(files.SUBSET / "subset.npz")
    classes = files.read_json(files.SUBSET / "classes.json")
    state, origin = files.read_tensors(files.RESNET_WEIGHTS)
    head_seed = seeds.derive(settings.seed, "head")
    model = models.with_new_head(models.restore(origin["arch"], state), len(classes), head_seed)
    runtime.place(model, device)
    parts = ("train_index", "train_labels", "val_index", "val_labels")
    data = training.Data(files.read_array(files.RAW / "train_images.npy"), *(subset[part] for part in parts))
    view, recipe = images.view(origin["arch"], settings.image_size), settings.finetune.recipe()
    epochs = training.train(model, data, view=view, seed=settings.seed, **recipe)
    history, best, kept = follow(epochs, model, files.write_folder(files.RESNET_CURVES))
    about = {**origin, "image_size": view.size, "classes": classes, "seed": settings.seed, "recipe": recipe}
    about |= {"epoch": best.number, "history": [epoch.results() for epoch in history]}
    files.write_tensors(files.RESNET_CHECKPOINT, kept, about)
    report: dict[str, Any] = {"best_epoch": best.number, "val_accuracy": best.val_accuracy, **training.cost(history)}
    report |= {"macs": models.macs(model, view.size), "environment": runtime.environment(device)}
    files.write_json(files.FINETUNE_METRICS, {"finetune_resnet": report})


if __name__ == "__main__":
    run(main)
