"""Meters of the energy that a device has taken: of the processor's packages (RAPL), or of an NVIDIA GPU (NVML).

They count whatever runs on the device. Where the system has no such counter, or hides it, there is no meter: since
2020 Linux lets root alone read RAPL, unless an administrator allows more, and MPS offers nothing.
"""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

Meter = Callable[[], float]  # the joules so far; only differences mean something

POWERCAP = Path("/sys/class/powercap")


def meter(device: torch.device) -> Meter | None:
    """The meter of a device; None if there is none."""
    if device.type == "cpu":
        return rapl(POWERCAP)
    return nvml(device) if device.type == "cuda" else None


def rapl(powercap: Path) -> Meter | None:
    """The meter of all packages of the processor, each a folder such as `intel-rapl:0` (also on AMD)."""
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    try:
        packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        return _Packages(packages) if packages else None
    except (OSError, ValueError):  # hidden
        return None


class _Packages:
    """Counters of microjoules that start again from 0 beyond their range, after half an hour or more."""

    def __init__(self, zones: Sequence[Path]) -> None:
        self.ranges = {zone: int((zone / "max_energy_range_uj").read_text()) + 1 for zone in zones}
        self.last, self.total = self._read(), 0

    def _read(self) -> dict[Path, int]:
        return {zone: int((zone / "energy_uj").read_text()) for zone in self.ranges}

    def __call__(self) -> float:
        now = self._read()
        self.total += sum((now[zone] - self.last[zone]) % size for zone, size in self.ranges.items())
        self.last = now
        return self.total / 1e6


def nvml(device: torch.device) -> Meter | None:
    """The meter of a GPU of Volta or later, from the library that comes with the driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    name = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)):
        return None

    def failed() -> int:
        return library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))

    def read() -> float:
        if failed():
            raise OSError("NVML no longer tells the energy of the GPU")
        return millijoules.value / 1e3

    return None if failed() else read
