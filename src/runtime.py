"""Where and with what a stage computes: the device, and the versions that a number depends on."""

import platform
import re
from importlib.metadata import version
from pathlib import Path

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


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that tensors took so far, on MPS what the driver holds now, else the process's peak.

    So far in this process: of several methods in one stage, a later one never shows less than those before it.

    MPS keeps no record of its peak; its driver seldom gives memory back, so that what it holds comes near.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024  # kilobytes on Linux


def environment(device: torch.device) -> list[dict[str, str | int]]:
    """What a number depends on besides the settings: device, processor, threads, versions.

    A list of one, because DVC turns whatever a metrics file holds outside of lists into columns.
    """
    return [
        {
            "device": device.type,
            "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        }
    ]


def _processor() -> str:
    """The processor's name; Linux alone hides it from `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
