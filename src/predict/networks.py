"""The networks of an arm, from the files that the experiment left, and their answers to images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator

from src import arms
from src.arms import FrozenFiles, Network
from src.core import design
from src.device import runtime
from src.device.prefetch import OnHost
from src.nets import inference, specialised
from src.predict.arm import CHECKED, Arm
from src.settings.settings import Settings
from src.storage import files, paths, raw


def start(settings: Settings) -> Accelerator:
    """The device and the kind of networks with which the experiment evaluates."""
    specialised.enable(settings.specialised)
    return runtime.start(settings.device, "fp32", deterministic=settings.deterministic)


def read(arm: Arm, settings: Settings, accelerator: Accelerator) -> list[Network]:
    """Networks whose heads are named by the seeds: one for each seed, or of a frozen backbone one with all heads.

    Raises:
        UserError: a file is missing, or the networks do not answer as the experiment's did.
    """
    backbone, adaptation = design.split(arm.name)
    device = accelerator.device
    if design.is_finetuned(arm.name):
        folders = {seed: paths.of_seed(paths.checkpoints(backbone), seed) for seed in arm.seeds}
        states = {seed: files.read_tensors(folder / f"{adaptation}.safetensors") for seed, folder in folders.items()}
        networks = [arms.finetuned(str(seed), *state, device) for seed, state in states.items()]
    else:
        networks = [_frozen(arm, settings, device)]
    arm.require_same(answer(networks, raw.images("test"), arm.saved[arm.seeds[0]]["index"][:CHECKED], accelerator))
    return networks


def _frozen(arm: Arm, settings: Settings, device: torch.device) -> Network:
    backbone, readout = design.split(arm.name)
    predictions = paths.predictions(design.cell(arm.name))
    frozen = FrozenFiles(paths.weights(backbone), paths.features(backbone), predictions)
    model, view = arms.read_backbone(frozen.weights, settings.image_size, settings.normalisation, device)
    heads = {}
    for seed in arm.seeds:
        found = arms.read_heads(
            frozen,
            [readout],
            configurations=settings.tune.configurations,
            subset=files.read_arrays(paths.subset(seed)),
            seed=seed,
            device=device,
        )
        heads[str(seed)] = found[readout]
    return Network(model, view, heads)


def answer(
    networks: Sequence[Network], images: OnHost, index: np.ndarray, accelerator: Accelerator
) -> Mapping[int, np.ndarray]:
    """By seed the logits (n, K) of the images (N, H, W, 3) uint8 at some positions (n,)."""
    logits: dict[int, np.ndarray] = {}
    for network in networks:
        # In whole batches, as features were embedded: an image's answer is the same whatever the others are.
        how = {"view": network.view, "accelerator": accelerator, "full_batches": True}
        features = np.concatenate(list(inference.outputs(network.backbone, images, index, **how)))
        logits |= {int(seed): head.logits(features) for seed, head in network.heads.items()}
    return logits
