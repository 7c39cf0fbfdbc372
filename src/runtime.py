"""Where and with what a stage computes: the device, and the versions that a number depends on."""

import platform
from importlib.metadata import version

import torch
from torch import nn

from src.errors import UserError

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "scipy")


def choose_device(name: str) -> torch.device:
    """The device of a stage; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        UserError: the device is not on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, found in present.items() if found)
    if not present[name]:
        found = ", ".join(kind for kind, here in present.items() if here)
        raise UserError(f"device = {name}: not on this machine; allowed here are auto, {found}")
    return torch.device(name)


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to the device, in the layout that is fast there.

    That is channels_last, except on MPS, where it makes the convolution's backward pass ~30x slower (pytorch#193349).
    """
    model = model.to(device)
    return model if device.type == "mps" else model.to(memory_format=torch.channels_last)


def environment(device: torch.device) -> dict[str, str | int]:
    """What a number depends on besides the settings: device, processor, threads, versions."""
    processor = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    )
    return {
        "device": device.type,
        "processor": processor,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
