"""A device named mps that computes on the CPU, keeps MPS's rules, and refuses what MPS refuses or suffers from.

PyTorch is told that the device is `meta`, the only one besides the CPU for which it can run a backward pass without
such hardware; Python code is told that it is `mps`, so that it takes the branches that it takes there. A tensor on it
carries another one, with which everything is computed. What MPS alone has, its kernels and its speed, stays unseen.

Refused are
- tensors in float64 or complex128, which do not exist there;
- operations between it and the CPU, and the CPU's random generators;
- copies to or from it that the host does not wait for (pytorch#189690);
- operations for which PyTorch lists no kernel of MPS, nor one made of others;
- weights and images in channels_last (pytorch#193349);
- batches of different shapes for one weight in one run (pytorch#164299).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
import torch
import torchgen
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

MPS, HIDDEN, CPU = torch.device("mps"), torch.device("meta"), torch.device("cpu")
aten = torch.ops.aten
BETWEEN_DEVICES = {aten.copy_.default, aten._to_copy.default}
# Where images and weight stand among the arguments of a convolution and of a linear layer with a bias. One without has
# an `mm` like those of the backward pass, and is left out.
LAYERS = {aten.convolution.default: (0, 1), aten.addmm.default: (1, 2)}


class RefusedError(Exception):
    """What would fail, or be slow or leak memory, on MPS."""


class OnDevice(Tensor):
    """A tensor on the device; `inner` is the one that it carries, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    inner: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> "OnDevice":
        if real.dtype in (torch.float64, torch.complex128):
            raise RefusedError(f"{real.dtype} does not exist on MPS")
        like = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype}
        return Tensor._make_wrapper_subclass(cls, real.size(), device=HIDDEN, **like)

    def __init__(self, real: Tensor) -> None:
        self.inner = real

    @property
    def device(self) -> torch.device:
        return MPS

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} was computed outside of the device")


class Device(TorchDispatchMode):
    """Computes what concerns the device, and refuses what breaks its rules."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()  # that were computed on the device
        # (operation, whether gradients are kept, address of the weight) -> shape, and the weight: while it is held, no
        # other one takes its address.
        self.batches: dict[tuple[Any, bool, int], tuple[tuple[int, ...], Tensor]] = {}
        self.runs: list[str] = []  # that were begun, by name
        self.layers = 0  # that were run, and watched

    def begin(self, name: str, *, learning: bool) -> None:
        """A run: a training, or the answers to one set of images; those that a training asks for are no end of it."""
        self.runs.append(name)
        self.batches = {key: seen for key, seen in self.batches.items() if key[1] != learning}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with self:  # inference mode leaves operations whole that are made of others
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        same: dict[int, Tensor] = {}  # what works in place gives back what it was given

        def take(tensor: Tensor) -> Tensor:
            assert isinstance(tensor, OnDevice) or tensor.device != HIDDEN, f"{func}: a tensor without its numbers"
            inner = tensor.inner if isinstance(tensor, OnDevice) else tensor
            same[id(inner)] = tensor
            return inner

        inner_args, inner_kwargs = each(take, args), {name: each(take, value) for name, value in kwargs.items()}
        target = kwargs.get("device")
        given = list(same.values())
        here = any(isinstance(tensor, OnDevice) for tensor in given) if target is None else target == HIDDEN
        unawaited = kwargs.get("non_blocking") or (func is aten.copy_.default and args[2:] == (True,))
        if unawaited and (here or any(isinstance(tensor, OnDevice) for tensor in given)):
            raise RefusedError(f"{func} does not wait for a copy")
        if here:
            self.check(func, args, kwargs, given)
        if target is not None:
            inner_kwargs["device"] = CPU
        result = func(*inner_args, **inner_kwargs)
        view = any(returned.alias_info for returned in func._schema.returns)
        of_inference = torch.is_inference_mode_enabled() and not (view and not given[0].is_inference())
        with torch.inference_mode(of_inference):  # a view belongs where the tensor does that it is one of
            return each(lambda tensor: same.get(id(tensor), OnDevice(tensor) if here else tensor), result)

    def check(self, func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
        name = str(func).removeprefix("aten.").removesuffix(".default")
        self.operations.add(name)
        if not has_kernel(name):
            raise RefusedError(f"{name} has no kernel on MPS")
        mixed = any(not isinstance(tensor, OnDevice) and tensor.dim() > 0 for tensor in tensors)
        if mixed and func not in BETWEEN_DEVICES:
            raise RefusedError(f"{name} is given tensors of the CPU and of MPS")
        if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            raise RefusedError(f"{name} is given a random generator of the CPU")
        if func in LAYERS:
            self.check_layer(func, *(args[place] for place in LAYERS[func]))

    def check_layer(self, func: Any, images: OnDevice, weight: OnDevice) -> None:
        """In channels_last only what the network makes of itself: ConvNeXt's own layers turn their images so."""
        if images.dim() == 4 and not weight.is_contiguous():
            raise RefusedError("a convolution's weight is in channels_last")
        if images.dim() == 4 and images.shape[1] == 3 and not images.is_contiguous():
            raise RefusedError("images are in channels_last")
        self.layers += 1
        key = (func, torch.is_grad_enabled(), weight.inner.untyped_storage().data_ptr())
        shape, _ = self.batches.setdefault(key, (tuple(images.shape), weight.inner))
        if shape != tuple(images.shape):
            raise RefusedError(f"one layer is given batches of {shape} and {tuple(images.shape)}")


def each(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """An operation's argument or result, with all its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    return type(value)(each(change, part) for part in value) if isinstance(value, list | tuple) else value


class Named(TorchFunctionMode):
    """Turns the device that Python names into the one that PyTorch is told."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:  # what Python is told
            return func(*args, **(kwargs or {}))
        if func == Tensor.data.__set__ and isinstance(args[0], OnDevice):  # of which Python's part would stay behind
            args[0].inner = args[1].inner
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].inner.tolist()
        if func in (Tensor.numpy, Tensor.__array__) and isinstance(args[0], OnDevice):
            raise RefusedError("NumPy is given a tensor on MPS")
        args, kwargs = [hidden(value) for value in args], {key: hidden(value) for key, value in (kwargs or {}).items()}
        if func is Tensor.new_tensor:
            own, *args = args
            kwargs = {"dtype": own.dtype, "device": HIDDEN if isinstance(own, OnDevice) else own.device} | kwargs
            func = torch.tensor
        if func in (torch.tensor, torch.as_tensor, torch.asarray):  # which would leave the numbers out
            return func(*args, **{**kwargs, "device": None}).to(kwargs.get("device") or CPU)
        return func(*args, **kwargs)


def hidden(value: Any) -> Any:
    named = isinstance(value, torch.device | str) and str(value).split(":")[0] == "mps"
    return HIDDEN if named else value


@cache
def listed() -> dict[str, dict[str, Any]]:
    """PyTorch's own list of its operations, by name, as it comes with the package."""
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    result = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {entry["func"].split("(")[0]: entry for entry in result}


@cache
def has_kernel(name: str) -> bool:
    """Whether an operation runs on MPS: by a kernel of its own, or made of others."""
    entry = listed().get(name)
    if entry is None:
        return False
    if "structured_delegate" in entry:
        return has_kernel(entry["structured_delegate"])
    kernels = {
        key.strip() for keys in entry.get("dispatch", {"CompositeImplicitAutograd": ""}) for key in keys.split(",")
    }
    return any(key == "MPS" or key.startswith("Composite") for key in kernels)


@contextmanager
def pretended(patch: pytest.MonkeyPatch, runs: dict[tuple[Any, str], bool] | None = None) -> Iterator[Device]:
    """Inside, MPS is on this machine.

    Args:
        runs: the functions, by where they are looked up, of which a call begins a run; and whether it learns.
    """
    device = Device()
    patch.setattr(torch.backends.mps, "is_available", cache(lambda: True))  # cached, as PyTorch wants to see it
    patch.setattr(torch.backends.mps, "is_built", lambda: True)
    patch.setattr(torch.cuda, "is_available", lambda: False)
    patch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # as accelerate does, which would leave it behind
    for name in ("synchronize", "empty_cache"):
        patch.setattr(torch.mps, name, lambda: None)
    for name in ("driver_allocated_memory", "current_allocated_memory", "recommended_max_memory"):
        patch.setattr(torch.mps, name, lambda: 2**30)
    for (module, name), learning in (runs or {}).items():
        patch.setattr(module, name, beginning(device, getattr(module, name), learning))
    AcceleratorState._reset_state(reset_partial_state=True)  # one to a process, which has found its device
    try:
        with Named(), device:
            yield device
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        Accelerator(cpu=True)  # as the other tests of this process know it


def beginning(device: Device, function: Callable[..., Any], learning: bool) -> Callable[..., Any]:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        device.begin(function.__name__, learning=learning)
        return function(*args, **kwargs)

    return run
