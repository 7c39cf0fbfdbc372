"""Every arm on corrupted, attacked and unknown images; switched off by default."""

from typing import TYPE_CHECKING

from src import files
from src.params import Settings
from stages import run

if TYPE_CHECKING:
    import torch

    from src.robust_arms import Network


def read_networks(settings: Settings, device: "torch.device") -> "list[Network]":
    """The networks of every cell that was run, backbone by backbone."""
    from src.robust_arms import read_finetuned, read_frozen

    methods, readouts = settings.finetune.methods, settings.frozen.readouts
    how = {
        "image_size": settings.image_size,
        "subset": files.read_arrays(files.SUBSET / "subset.npz"),
        "classes": files.read_json(files.SUBSET / "classes.json"),
        "shots": settings.frozen.shots,
        "seed": settings.seed,
        "device": device,
    }
    legacy = read_finetuned(files.RESNET_CHECKPOINTS, "resnet", methods, device)
    modern = read_frozen(
        files.CONVNEXT_WEIGHTS, files.CONVNEXT_FEATURES, files.CONVNEXT_PREDICTIONS, "convnext", readouts, **how
    )
    if settings.controls:
        legacy += read_frozen(
            files.RESNET_WEIGHTS, files.RESNET_FEATURES, files.RESNET_FROZEN_PREDICTIONS, "resnet", readouts, **how
        )
        modern = read_finetuned(files.CONVNEXT_CHECKPOINTS, "convnext", methods, device) + modern
    return legacy + modern


def main(settings: Settings) -> None:
    if not settings.robustness.enabled:
        files.write_nothing(files.ROBUSTNESS_PLOTS, files.ROBUSTNESS_METRICS)
        return
    from src import resuming, runtime  # PyTorch takes seconds to import
    from src.robustness import Study, write_robustness

    # Rounded gradients pass for robustness.
    accelerator = runtime.start(settings.device, "fp32", deterministic=settings.deterministic)
    study = Study(
        networks=read_networks(settings, accelerator.device),
        archs={"resnet": settings.resnet.arch, "convnext": settings.convnext.arch},
        raw={split: files.read_array(files.RAW / f"{split}_images.npy") for split in ("train", "test")},
        raw_labels=files.read_array(files.RAW / "test_labels.npy"),
        subset=files.read_arrays(files.SUBSET / "subset.npz"),
        classes=len(files.read_json(files.SUBSET / "classes.json")),
        dataset=settings.dataset,
        plan=settings.robustness.model_dump(),
        seed=settings.seed,
        accelerator=accelerator,
    )
    confidence, resamples = settings.compare.confidence, settings.compare.resamples
    with resuming.place("robustness", settings, runtime.machine(accelerator)) as place:
        report = write_robustness(
            files.ROBUSTNESS_PLOTS, study, confidence=confidence, resamples=resamples, place=place
        )
        files.write_json(files.ROBUSTNESS_METRICS, {"robustness": report})


if __name__ == "__main__":
    run(main)
