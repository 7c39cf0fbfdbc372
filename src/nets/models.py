"""Networks, their weights and heads, and their cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from src.core.errors import UserError
from src.device import runtime
from src.nets import zoo, zoo_torchvision


def build(arch: str, outputs: int, seed: int, image_size: int | None = None) -> nn.Module:
    """A randomly initialised network with `outputs` logits; the same seed gives the same weights.

    Args:
        image_size: matters to networks for images of one size; without it, that of the published weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return zoo.build(arch, outputs, image_size)


def head_name(model: nn.Module) -> str:
    """The dotted name of the layer that turns features into logits: what timm says, or else the last linear layer."""
    said = getattr(model, "pretrained_cfg", {}).get("classifier")
    return said or [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def restore(arch: str, state: dict[str, Tensor], image_size: int | None = None) -> nn.Module:
    """The network that a state_dict belongs to, with as many logits as its head has rows.

    Args:
        image_size: for which position embeddings are interpolated, by the library; without it, they stay as they are.

    Raises:
        UserError: the names or shapes are not the architecture's; the first that differs is named.
    """
    image_size = image_size or zoo_torchvision.size_of(state)
    model = build(arch, 1000, 0, image_size)
    weight = state.get(f"{head_name(model)}.weight")
    if weight is None:
        needed = f"{head_name(model)}.weight"
        raise UserError(
            f"no tensor {needed}, so this is not a state_dict of {arch}; allowed is one of the same architecture"
        )
    if len(weight) != 1000:
        model = build(arch, len(weight), 0, image_size)
    wanted = model.state_dict()
    state = zoo.fitted(arch, state, model, image_size)
    # Weights older than this counter, such as torchvision's ResNets, lack it; it matters to no batch norm used here.
    state = {name: tensor for name, tensor in wanted.items() if name.endswith("num_batches_tracked")} | state
    for name in sorted(wanted.keys() | state.keys()):
        ours = tuple(wanted[name].shape) if name in wanted else "absent"
        theirs = tuple(state[name].shape) if name in state else "absent"
        if ours != theirs:
            raise UserError(f"tensor {name} is {theirs}, but {arch} has {ours}; allowed is a state_dict of {arch}")
    wanted.update(state)  # which knows the versions of layers, as MNASNet asks for
    model.load_state_dict(wanted)
    return model


def feature_width(model: nn.Module) -> int:
    """D, the number of features that the head reads."""
    layer = model.get_submodule(head_name(model))
    assert isinstance(layer, nn.Linear)
    return layer.in_features


def with_new_head(model: nn.Module, classes: int, seed: int) -> nn.Module:
    """The same network with a fresh linear layer of `classes` logits, PyTorch's default initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.set_submodule(head_name(model), nn.Linear(feature_width(model), classes))
    return model


def without_head(model: nn.Module) -> nn.Module:
    """The same network without its last linear layer: images (N, 3, H, W) -> features (N, D)."""
    model.set_submodule(head_name(model), nn.Identity())
    return model


def freeze_backbone(model: nn.Module) -> nn.Module:
    """The same network, of which only the last linear layer learns."""
    model.requires_grad_(False)
    model.get_submodule(head_name(model)).requires_grad_(True)
    return model


def head(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) of the last linear layer."""
    layer = model.get_submodule(head_name(model))
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach(), layer.bias.detach()


def parameters(model: nn.Module, *, trained: bool = False) -> int:
    """How many numbers the network holds, or only those that are `trained`."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not trained)


def macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of one image's forward pass: half of the operations that PyTorch's counter reports."""
    from torch.utils import flop_counter  # brings triton, where that is installed

    runtime.exempt_from_compiler(flop_counter._FlopCounterMode, "__torch_dispatch__")
    device = next(model.parameters()).device
    counter = flop_counter.FlopCounterMode(display=False)
    model.eval()
    with torch.no_grad(), _spelled_out_attention(), counter:
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return counter.get_total_flops() // 2


@contextmanager
def _spelled_out_attention() -> Iterator[None]:
    """Attention as matrix products inside, which are counted; PyTorch's fused kernels for it are not, all of them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def inference_cost(model: nn.Module, image_size: int, accelerator: Accelerator) -> dict[str, Any]:
    """What a network costs to run besides time: parameters, arithmetic of an image, memory; and where it ran."""
    return {
        "parameters": parameters(model),
        "macs": macs(model, image_size),
        "peak_memory": runtime.peak_memory(accelerator.device),
        "environment": runtime.environment(accelerator),
    }
