"""Meters count what the system's counters say, and are absent where it has none or hides them."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.device import energy


def zone(powercap: Path, folder: str, name: str, microjoules: int, most: int = 999_999_999) -> Path:
    path = powercap / folder
    path.mkdir(parents=True)
    for file, content in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (path / file).write_text(f"{content}\n")
    return path / "energy_uj"


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 100)
    parts = [zone(tmp_path, "intel-rapl:0:0", "core", 7), zone(tmp_path, "intel-rapl:2", "psys", 7)]
    meter = energy.rapl(tmp_path)
    assert meter() == 0
    for file, microjoules in ((first, 6_500_000), (second, 250_100), *((part, 10**8) for part in parts)):
        file.write_text(str(microjoules))
    assert meter() == pytest.approx(1.75)
    assert meter() == pytest.approx(1.75)


def test_a_counter_that_starts_again_counts_on(tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, most=9_999_999)
    meter = energy.rapl(tmp_path)
    file.write_text("2000000")
    assert meter() == pytest.approx(3)
    file.write_text("2500000")
    assert meter() == pytest.approx(3.5)


def test_without_counters_or_without_permission_there_is_no_meter(tmp_path, monkeypatch):
    assert energy.rapl(tmp_path / "absent") is None
    zone(tmp_path, "intel-rapl:0", "package-0", 1).unlink()  # unreadable, also by root
    assert energy.rapl(tmp_path) is None
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert energy.meter(torch.device("cpu")) is None
    assert energy.meter(torch.device("mps")) is None


class Library:
    """Of NVML, what is used of it; each function returns 0 if it went well."""

    def __init__(self, unsupported: int = 0) -> None:
        self.unsupported, self.millijoules, self.asked = unsupported, 5_000, b""

    def nvmlInit_v2(self) -> int:  # noqa: N802 - its name
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: object) -> int:  # noqa: ARG002, N802 - its name
        self.asked = uuid
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, energy: object) -> int:  # noqa: ARG002, N802
        energy._obj.value = self.millijoules
        return self.unsupported


@pytest.fixture
def _gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="ab-12"))


@pytest.mark.usefixtures("_gpu")
def test_a_gpu_is_found_by_its_name_and_counts_millijoules(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    meter = energy.meter(torch.device("cuda"))
    assert library.asked == b"GPU-ab-12"
    before = meter()
    library.millijoules += 2_500
    assert meter() - before == pytest.approx(2.5)
    library.unsupported = 3
    with pytest.raises(OSError, match="no longer tells"):
        meter()


@pytest.mark.usefixtures("_gpu")
def test_a_gpu_that_does_not_count_or_has_no_library_has_no_meter(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library(unsupported=3))
    assert energy.nvml(torch.device("cuda")) is None

    def absent(_: str) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert energy.nvml(torch.device("cuda")) is None
