"""Device, precision and processes of a run, and a description of the machine.

Several processes (torchrun) compute together what one computes: the global batch has the same images in the same order,
each process takes its slice, and gradients are averaged. Batch normalisation sees the whole batch on CUDA
(SyncBatchNorm). On the CPU, where PyTorch has no such layer, it sees the slice of its process, and the running
statistics of the first process are saved.
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
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from src.core import git
from src.core.errors import UserError
from src.core.records import Environment
from src.device import variables

# Packages that not every stage needs: the version is part of the machine where the package was imported.
OPTIONAL = ("timm",)
PACKAGES = ("torch", "torchvision", "accelerate", "numpy", "scikit-learn", "scipy")
MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # our names -> those of accelerate


def start(device: str, precision: str, *, deterministic: bool = False) -> Accelerator:
    """The device and precision of a stage, in its only process or in each process of `torchrun`.

    Args:
        precision: also another one than before in this process; what was started then must not be used any more.
        deterministic: on CUDA, use only algorithms that give the same bytes every time. Those of the CPU do so anyway;
            MPS offers no choice.

    Raises:
        UserError: this machine does not have the device, the device does not have the precision, or a variable of the
            environment asks for something else.
    """
    variables.drop_leftovers()
    kind = choose_device(device)
    variables.require_rounding(kind)
    if kind == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # else convolutions in fp32 have products of ten bits
        if deterministic:
            choose_deterministic()
    AcceleratorState._reset_state()  # a process that embeds in fp32 and trains in bf16 would be refused
    # Networks are on their device before they are prepared. To place them, accelerate would ask whether they are spread
    # over several, and import PyTorch's distributed tensors for it, which takes a third of the time that PyTorch takes.
    mixed = MIXED[choose_precision(precision, kind)]
    accelerator = Accelerator(device_placement=False, mixed_precision=mixed, cpu=kind == "cpu")
    if torch.distributed.is_initialized():
        atexit.register(torch.distributed.destroy_process_group)
    return accelerator


def choose_device(name: str) -> str:
    """`cuda`, `mps` or `cpu`; `auto` is the first of them on this machine. Several processes cannot share MPS.

    Raises:
        UserError: this machine does not have the device.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and alone,
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, usable in available.items() if usable)
    if not available[name]:
        allowed = ", ".join(kind for kind, usable in available.items() if usable)
        where = "on this machine" if alone else "for several processes"
        raise UserError(f"device = {name}: not {where}; allowed here are auto, {allowed}")
    return name


def choose_precision(name: str, device: str) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is bf16 if the device has instructions for it, else fp32.

    bf16 on a CPU without such instructions is many times slower (pytorch#146508); it is allowed with a warning, for the
    same numbers as on another machine. On MPS, `auto` is fp32.

    Raises:
        UserError: the device does not have the precision.
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
    """Allow only algorithms that add in a fixed order, in cuDNN, cuBLAS (by its workspace) and PyTorch."""
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
    """Whether a device has instructions for bfloat16 matrix products."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "mps":
        return True
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def peak_memory(device: torch.device) -> int:
    """The peak memory of this process so far, in bytes: of tensors on CUDA, of the process on the CPU.

    A later method of a stage never shows less than those before it. MPS keeps no peak: there it is what the driver
    holds now, which is near to it, since the driver seldom gives memory back.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024  # kilobytes on Linux


def environment(accelerator: Accelerator) -> Environment:
    """What a number depends on besides the settings: the machine, and the commit of the code."""
    return {"commit": commit(), **machine(accelerator)}


def machine(accelerator: Accelerator) -> Environment:
    """Device, processor, precision, processes, threads, variables that choose instructions, versions."""
    device = accelerator.device
    return {
        "device": device.type,
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "precision": next(ours for ours, theirs in MIXED.items() if theirs == accelerator.mixed_precision),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        **variables.instructions(),
        "python": platform.python_version(),
        **{name: version(name) for name in (*PACKAGES, *(name for name in OPTIONAL if name in sys.modules))},
    }


def commit() -> str:
    """The checked-out commit, with `-dirty` if a tracked file differs from it; `none` outside of a repository.

    Raises:
        UserError: git refuses to tell.
    """
    return git.output("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").decode().strip() or "none"


def _processor() -> str:
    """The name of the processor, which `platform` does not know on Linux, nor on a Mac, where all are `arm`."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else []
    if platform.system() == "Darwin":
        sysctl = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        names = subprocess.run(sysctl, capture_output=True, text=True).stdout.splitlines()
    return names[0] if names else platform.processor() or platform.machine()


def own_slice(count: int, accelerator: Accelerator) -> slice:
    """The slice of a batch of `count` images that belongs to this process.

    Raises:
        UserError: `count` is not a multiple of the number of processes.
    """
    processes = accelerator.num_processes
    if count % processes:
        raise UserError(f"finetune.batch_size = {count}: {processes} processes cannot share it evenly; try a multiple")
    share = count // processes
    return slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)


class SharedStochasticDepth(nn.Module):
    """torchvision's StochasticDepth of mode `row`, that drops the same images as a single process would."""

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
    """The network with layers that treat the slices of all processes as one batch."""
    if accelerator.num_processes == 1:
        return model
    from torchvision.ops import StochasticDepth  # takes a second

    # The gradient of a trimmed kernel has another layout than its weight; copying it costs next to nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    for name, layer in list(model.named_modules()):
        if isinstance(layer, StochasticDepth) and layer.mode == "row":
            model.set_submodule(name, SharedStochasticDepth(layer.p, accelerator))
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if accelerator.device.type == "cuda" else model
