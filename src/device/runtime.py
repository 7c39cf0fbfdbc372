"""Device, precision and processes of a run, and the versions that its numbers depend on.

Several processes (torchrun) give together what one gives: the global batch holds the same images in the same order,
each process takes its slice, and gradients are averaged. Batch normalisation sees the whole batch on CUDA
(SyncBatchNorm) and each process's slice on the CPU, where PyTorch has no such layer; the running statistics that are
kept are the first process's.
"""

import atexit
import os
import platform
import re
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from src.core.errors import UserError

# Of what not every stage needs, the version counts where it was imported.
OPTIONAL = ("timm", "optuna")
PACKAGES = ("torch", "torchvision", "accelerate", "numpy", "scikit-learn", "scipy")
MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # our names, and accelerate's


def start(device: str, precision: str, *, deterministic: bool = False) -> Accelerator:
    """The device and precision of a stage, in the one process that runs it or in each of those of `torchrun`.

    Args:
        deterministic: on CUDA, only algorithms that give the same bytes every time. The CPU has no others here, MPS
            offers no such choice.

    Raises:
        UserError: this machine has no such device, or the device no such precision.
    """
    kind = choose_device(device)
    if deterministic and kind == "cuda":
        choose_deterministic()
    accelerator = Accelerator(mixed_precision=MIXED[choose_precision(precision, kind)], cpu=kind == "cpu")
    if torch.distributed.is_initialized():
        atexit.register(torch.distributed.destroy_process_group)
    return accelerator


def choose_device(name: str) -> str:
    """`cuda`, `mps` or `cpu`; `auto` takes the first of them that is here. Several processes have no MPS.

    Raises:
        UserError: the device is not on this machine.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and alone,
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, found in present.items() if found)
    if not present[name]:
        found = ", ".join(kind for kind, here in present.items() if here)
        where = "on this machine" if alone else "for several processes"
        raise UserError(f"device = {name}: not {where}; allowed here are auto, {found}")
    return name


def choose_precision(name: str, device: str) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` takes bf16 where the device computes with it, and otherwise fp32.

    On a CPU without instructions for it, bf16 is many times slower (pytorch#146508): possible, with a warning, for who
    wants the same numbers as elsewhere. On MPS bf16 and fp16 are there to be asked for; auto stays with fp32.

    Raises:
        UserError: the device has no such precision.
    """
    native = has_bf16(device)
    if name == "auto":
        return "bf16" if native and device != "mps" else "fp32"
    if name == "fp16" and device == "cpu":
        raise UserError("precision = fp16: not on the CPU; allowed there are auto, fp32, bf16")
    if name == "bf16" and not native:
        print(f"precision = bf16: this {device} has no instructions for it, so it will be many times slower than fp32")
    return name


def choose_deterministic() -> None:
    """Refuse algorithms whose sums are in any order: cuDNN's, cuBLAS's by its workspace, and PyTorch's own."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def exempt_from_compiler(owner: type, *names: str) -> None:
    """Keep PyTorch from importing its compiler, a second of work, for methods that it exempts from compilation.

    It does so at their first call. Nothing is compiled here, so the plain method is what an exempt one would be.
    """
    for name in names:
        if plain := getattr(getattr(owner, name, None), "__wrapped__", None):
            plain.__dynamo_disable = plain  # where torch._compile looks first


def has_bf16(device: str) -> bool:
    """Whether a device multiplies bfloat16 matrices by instructions of its own."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "mps":
        return True
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


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


def environment(accelerator: Accelerator) -> list[dict[str, str | int]]:
    """What a number depends on besides the settings: the machine, and the commit of the code.

    A list of one, because DVC turns whatever a metrics file holds outside of lists into columns.
    """
    return [{"commit": commit(), **machine(accelerator)}]


def machine(accelerator: Accelerator) -> dict[str, str | int]:
    """Device, processor, precision, processes, threads, versions."""
    device = accelerator.device
    return {
        "device": device.type,
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "precision": next(ours for ours, theirs in MIXED.items() if theirs == accelerator.mixed_precision),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in (*PACKAGES, *(name for name in OPTIONAL if name in sys.modules))},
    }


def commit() -> str:
    """The commit that is checked out, with `-dirty` where a tracked file differs from it; or `none`."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _processor() -> str:
    """The processor's name; Linux alone hides it from `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def own_slice(count: int, accelerator: Accelerator) -> slice:
    """This process's part of a batch of `count` images.

    Raises:
        UserError: the processes cannot share it evenly.
    """
    processes = accelerator.num_processes
    if count % processes:
        raise UserError(f"finetune.batch_size = {count}: {processes} processes cannot share it evenly; try a multiple")
    share = count // processes
    return slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)


class SharedStochasticDepth(nn.Module):
    """torchvision's StochasticDepth by rows, which drops from each image what one process alone would drop from it."""

    def __init__(self, p: float, accelerator: Accelerator) -> None:
        super().__init__()
        self.p, self.processes, self.process = p, accelerator.num_processes, accelerator.process_index

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        count = len(input)
        kept = torch.empty(count * self.processes, *[1] * (input.ndim - 1), dtype=input.dtype, device=input.device)
        kept = kept.bernoulli_(1 - self.p).div_(1 - self.p)
        return input * kept[self.process * count : (self.process + 1) * count]


def share_layers(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The same network, with the layers that look at a whole batch made for one that is spread over processes."""
    if accelerator.num_processes == 1:
        return model
    from torchvision.ops import StochasticDepth  # takes a second

    # The gradient of a trimmed kernel has another layout than its weight; a copy of so little costs nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    for name, layer in list(model.named_modules()):
        if isinstance(layer, StochasticDepth) and layer.mode == "row":
            model.set_submodule(name, SharedStochasticDepth(layer.p, accelerator))
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if accelerator.device.type == "cuda" else model
