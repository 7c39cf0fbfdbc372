"""Embed every image with one frozen backbone, whatever the classes. Stages embed_convnext, embed_resnet.

A sweep over class counts pays for the features once.
"""

from typing import TYPE_CHECKING

from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, saved_state, start

if TYPE_CHECKING:
    from accelerate import Accelerator

    from src.records.embed import Embedding
    from src.storage.resume import StateFile


def embedded(settings: Settings, backbone: str, accelerator: "Accelerator", state: "StateFile") -> "Embedding | None":
    """Write a backbone's features; in the first process, what that took."""
    from src.embed import embed  # PyTorch takes seconds to import

    return embed(
        paths.features(backbone),
        weights=files.read_tensors(paths.weights(backbone)),
        raw={split: files.read_array(paths.RAW / f"{split}_images.npy") for split in ("train", "test")},
        image_size=settings.image_size,
        normalisation=settings.normalisation,
        accelerator=accelerator,
        state_file=state,
    )


def main(settings: Settings, backbone: str) -> None:
    stage = f"embed_{backbone}"
    if backbone == "resnet" and not settings.controls:
        files.write_empty(paths.features(backbone), paths.record(stage), paths.metrics(stage))
        return
    from src.device import runtime

    # Whatever the precision of training: features in bf16 change one answer in ten.
    accelerator = start(settings, "fp32")
    with saved_state(stage, settings, runtime.machine(accelerator)) as state:
        if embedding := embedded(settings, backbone, accelerator, state):
            files.write_json(paths.metrics(stage), {stage: embedding.numbers()})
            files.write_record(paths.record(stage), embedding)


if __name__ == "__main__":
    run(main, ROLES)
