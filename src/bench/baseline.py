"""The baseline of the speed measurements: training as one would write it with torchvision alone.

Two workers transform images one by one as PIL images. The network is torchvision's in the default memory layout and
float32, and the optimizer is not fused.
"""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset

from src.nets.preprocess import View

WORKERS = 2


class ArrayDataset(VisionDataset):
    """Chosen images of an array (N, H, W, 3) uint8, transformed as PIL images like those of torchvision's CIFAR10."""

    def __init__(
        self, images: np.ndarray, index: np.ndarray, labels: np.ndarray, transform: transforms.Compose
    ) -> None:
        super().__init__(transform=transform)
        self.images, self.index, self.labels = images, index, labels

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[self.index[item]])), int(self.labels[item])


def transform(side: int, view: View, *, augment: bool) -> transforms.Compose:
    """The usual transforms: crop and flip at the images' own size, resize if necessary, normalise.

    Args:
        side: of the images in pixels.
    """
    steps: list[nn.Module] = []
    if augment:
        steps += [transforms.RandomCrop(side, padding=side // 8), transforms.RandomHorizontalFlip()]
    if view.size != side:
        steps.append(transforms.Resize((view.size, view.size), transforms.InterpolationMode(view.interpolation)))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(view.mean, view.std)])


def loader(
    images: np.ndarray, index: np.ndarray, labels: np.ndarray, view: View, *, batch_size: int, train: bool
) -> DataLoader:
    """Batches of inputs (B, 3, S, S) and labels (B,); for training they are shuffled and augmented."""
    dataset = ArrayDataset(images, index, labels, transform(images.shape[1], view, augment=train))
    return DataLoader(dataset, batch_size, shuffle=train, drop_last=train, num_workers=WORKERS)


def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """PyTorch's Adam with its defaults."""
    return torch.optim.Adam(model.parameters(), lr, weight_decay=weight_decay)


def train(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], opt: torch.optim.Optimizer, device: torch.device
) -> float:
    """One step for each batch; the mean loss over batches, which is fetched from the device at each step."""
    model.train()
    losses = []
    for inputs, labels in batches:
        loss = F.cross_entropy(model(inputs.to(device)), labels.to(device))
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def outputs(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Tensor:
    """The logits (N, K) of all images, on the host."""
    model.eval()
    return torch.cat([model(inputs.to(device)).cpu() for inputs, _ in batches])
