"""Embed the images of the subset with one frozen backbone. Stages embed_convnext, embed_resnet.

An image that an earlier experiment embedded is not embedded again.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, shared_features, start

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator

    from src.records.embed import Embedding
    from src.storage.resume import StateFile

PARTS = {"train": ("train", "val"), "test": ("test",)}  # by split of the data set, the parts of the subset


def embedded(settings: Settings, backbone: str, accelerator: "Accelerator", state: "StateFile") -> "Embedding | None":
    """Write a backbone's features; in the first process, what that took."""
    from src.embed import Part, embed  # PyTorch takes seconds to import
    from src.storage import raw

    return embed(
        paths.features(backbone),
        weights=files.read_tensors(paths.weights(backbone)),
        parts={split: Part(raw.images(split), positions) for split, positions in read_by_any_seed(settings).items()},
        image_size=settings.image_size,
        normalisation=settings.normalisation,
        accelerator=accelerator,
        shared=shared_features(settings),
        state_file=state,
    )


def read_by_any_seed(settings: Settings) -> "dict[str, np.ndarray]":
    """The sorted positions of all images of the subset, by split."""
    import numpy as np

    subsets = [files.read_arrays(paths.subset(seed)) for seed in settings.seeds]
    return {
        split: np.unique(np.concatenate([subset[f"{part}_index"] for subset in subsets for part in parts]))
        for split, parts in PARTS.items()
    }


def main(settings: Settings, backbone: str) -> None:
    stage = f"embed_{backbone}"
    if backbone == "resnet" and not settings.controls:
        files.write_empty(paths.features(backbone), paths.record(stage))
        return
    from src.storage import resume

    # Whatever the precision of training: features in bf16 change one answer in ten.
    accelerator = start(settings, "fp32")
    alone = accelerator.num_processes == 1  # of several processes, torchrun ends all at once
    listening: AbstractContextManager[list[int]] = resume.signals() if alone else nullcontext([])
    with listening as asked:
        if embedding := embedded(settings, backbone, accelerator, resume.StateFile(asked=asked)):
            files.write_record(paths.record(stage), embedding)


if __name__ == "__main__":
    run(main, ROLES)
