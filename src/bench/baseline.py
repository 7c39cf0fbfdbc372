"""The plain recipe that one would write with torchvision alone.

Images become PIL images and are transformed one by one, by two workers; float32, the library's own network in the
default layout, no fused optimizer.
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


class Pictures(VisionDataset):
    """Chosen images of an array (N, H, W, 3) as torchvision's CIFAR10 hands them out: PIL images, transformed."""

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
    """The report's: crop and flip at the images' own side, resize where the network sees another, normalise."""
    steps: list[nn.Module] = []
    if augment:
        steps += [transforms.RandomCrop(side, padding=side // 8), transforms.RandomHorizontalFlip()]
    if view.size != side:
        steps.append(transforms.Resize((view.size, view.size), transforms.InterpolationMode(view.interpolation)))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(view.mean, view.std)])


def loader(
    images: np.ndarray, index: np.ndarray, labels: np.ndarray, view: View, *, batch_size: int, train: bool
) -> DataLoader:
    """Batches of inputs (B, 3, S, S) and labels (B,): shuffled and augmented to train on, else as they are."""
    pictures = Pictures(images, index, labels, transform(images.shape[1], view, augment=train))
    return DataLoader(pictures, batch_size, shuffle=train, drop_last=train, num_workers=WORKERS)


def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr, weight_decay=weight_decay)


def train(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], opt: torch.optim.Optimizer, device: torch.device
) -> float:
    """One step for each batch; the mean loss over batches, which is asked for at each step."""
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
    """What the network says to every image, on the host: (N, K)."""
    model.eval()
    return torch.cat([model(inputs.to(device)).cpu() for inputs, _ in batches])
