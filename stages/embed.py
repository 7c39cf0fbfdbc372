"""Embed every image with one frozen backbone, whatever the classes. Stages embed_convnext, embed_resnet.

A sweep over class counts pays for the features once.
"""

from src.core.design import ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, saved_state


def main(settings: Settings, backbone: str) -> None:
    stage = f"embed_{backbone}"
    if backbone == "resnet" and not settings.controls:
        files.write_empty(paths.features(backbone), paths.record(stage), paths.metrics(stage))
        return
    from src.device import runtime  # PyTorch takes seconds to import
    from src.embed import embed

    # Whatever the precision of training: features in bf16 change one answer in ten.
    accelerator = runtime.start(settings.device, "fp32", deterministic=settings.deterministic)
    with saved_state(stage, settings, runtime.machine(accelerator)) as state:
        embedding = embed(
            paths.features(backbone),
            weights=files.read_tensors(paths.weights(backbone)),
            raw={split: files.read_array(paths.RAW / f"{split}_images.npy") for split in ("train", "test")},
            image_size=settings.image_size,
            normalisation=settings.normalisation,
            accelerator=accelerator,
            state_file=state,
        )
        if embedding:
            files.write_json(paths.metrics(stage), {stage: embedding.numbers()})
            files.write_record(paths.record(stage), embedding)


if __name__ == "__main__":
    run(main, ROLES)
