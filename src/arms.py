"""Every arm as a backbone, images -> features, and a head, features -> logits.

A fine-tuned network has one head, its last layer; a frozen backbone has one for each read-out. An affine head is also
a layer, so that an attack can take the gradient of the whole arm; other heads have no gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src.core import seeds
from src.device import mps_check
from src.nets import folding, models, preprocess, specialised
from src.readouts import fit, zero_shot
from src.readouts.base import Features
from src.readouts.config import Frozen
from src.storage import files, paths
from src.storage.features import read_features

Logits = Callable[[np.ndarray], np.ndarray]


class Affine(nn.Module):
    """Standardised features (n, D), then a linear layer: (n, K)."""

    mean: Tensor
    std: Tensor

    def __init__(self, parts: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        for name in ("mean", "std", "weight", "bias"):
            self.register_buffer(name, torch.tensor(parts[name], dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.linear((features - self.mean) / self.std, self.weight, self.bias)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Head:
    """`logits` maps features (n, D) -> (n, K); `layer` does the same to tensors, if the head has a gradient."""

    logits: Logits
    layer: nn.Module | None = None


@dataclass(frozen=True)
class Network:
    """A backbone on its device, images (n, 3, S, S) -> features (n, D); its preprocessing; and its heads by arm."""

    backbone: nn.Module
    view: preprocess.View
    heads: dict[str, Head]


def affine(parts: Mapping[str, np.ndarray], device: torch.device) -> Head:
    """The head of an affine read-out, see `readouts.base.Readout`."""
    layer = Affine(parts).to(device)

    def logits(features: np.ndarray) -> np.ndarray:
        scaled = (features - parts["mean"]) / parts["std"]
        return (scaled @ parts["weight"].T + parts["bias"]).astype(np.float32)

    return Head(logits, layer)


def finetuned(name: str, state: dict[str, Tensor], header: Mapping[str, Any], device: torch.device) -> Network:
    """A fine-tuned arm from its checkpoint: a state_dict and its header, as `files.read_tensors` gives them."""
    arch, size = header["arch"], header["image_size"]
    model = models.restore(arch, state, size)
    weight, bias = (part.numpy().copy() for part in models.head(model))
    width = weight.shape[1]
    same = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    backbone = _backbone(model, size, device)
    head = affine({**same, "weight": weight, "bias": bias}, device)
    return Network(backbone, preprocess.view_of(header), {name: head})


def _backbone(model: nn.Module, image_size: int, device: torch.device) -> nn.Module:
    folded = folding.fold(models.without_head(model))
    backbone = specialised.place(folded, image_size, device).requires_grad_(False)
    mps_check.require(backbone, image_size)
    return backbone


def read_finetuned(folder: Path, role: str, methods: Sequence[str], device: torch.device) -> list[Network]:
    """A role's fine-tuned arms from its checkpoints, each a network of its own."""
    checkpoints = {method: files.read_tensors(folder / f"{method}.safetensors") for method in methods}
    return [finetuned(f"{role}.{method}", *checkpoint, device) for method, checkpoint in checkpoints.items()]


@dataclass(frozen=True)
class FrozenFiles:
    """Where earlier stages left a frozen backbone: the file of its weights, and the folders of the others."""

    weights: Path
    features: Path
    predictions: Path


def read_frozen(
    role: str,
    frozen: FrozenFiles,
    config: Frozen,
    *,
    image_size: int,
    normalisation: str,
    configurations: int,
    subset: Mapping[str, np.ndarray],
    seed: int,
    device: torch.device,
) -> list[Network]:
    """A frozen backbone with every read-out that was evaluated; see `read_heads`."""
    backbone, view = read_backbone(frozen.weights, image_size, normalisation, device)
    heads = read_heads(frozen, config.readouts, configurations=configurations, subset=subset, seed=seed, device=device)
    return [Network(backbone, view, {f"{role}.{name}": head for name, head in heads.items()})]


def read_backbone(
    weights: Path, image_size: int, normalisation: str, device: torch.device
) -> tuple[nn.Module, preprocess.View]:
    """A backbone from the file of its pretrained weights, and its preprocessing."""
    state, origin = files.read_tensors(weights)
    backbone = _backbone(models.restore(origin["arch"], state, image_size, needs_head=False), image_size, device)
    return backbone, preprocess.view(origin["arch"], image_size, normalisation, weights=origin["weights"])


def read_heads(
    frozen: FrozenFiles,
    readouts: Sequence[str],
    *,
    configurations: int,
    subset: Mapping[str, np.ndarray],
    seed: int,
    device: torch.device,
) -> dict[str, Head]:
    """Those of some read-outs that were evaluated.

    Beside the predictions are the weights of affine read-outs and the categories of zero_shot, where it was possible.
    Other read-outs are fitted again on the same features; `configurations` as in `Tune`.
    """
    kept = {name: affine_file(frozen.predictions, seed, name) for name in readouts}
    heads = {name: affine(files.read_arrays(path), device) for name, path in kept.items() if path.exists()}
    if len(heads) == len(readouts):
        return heads
    features, head = read_features(frozen.features)
    pretrained = zero_shot.PretrainedHead(head["weight"], head["bias"]) if head else None
    mapped = frozen.predictions / zero_shot.FILE
    categories = files.read_json(mapped) if mapped.exists() else []
    parts = Features.of(features["train"], subset)
    for name in readouts:
        if name not in heads and (name != "zero_shot" or categories):
            rng = seeds.generator(seed, name)
            fitted = fit.fit(
                name, parts, rng=rng, configurations=configurations, head=pretrained, categories=categories
            )
            heads[name] = Head(fitted.logits)
    return {name: heads[name] for name in readouts if name in heads}


def affine_file(predictions: Path, seed: int, readout: str) -> Path:
    """Where the weights of a read-out lie, if it is affine: see `evaluate.frozen.write`."""
    return paths.of_seed(predictions, seed) / "affine" / f"{readout}.npz"
