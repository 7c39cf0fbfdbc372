"""Build networks, restore their weights, exchange their heads, and count their cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from src.core.errors import UserError
from src.device import runtime
from src.nets import products, specialised, zoo, zoo_torchvision


def build(arch: str, outputs: int, seed: int, image_size: int | None = None) -> nn.Module:
    """A randomly initialised network with `outputs` logits; the same seed gives the same weights.

    Args:
        image_size: for networks that take images of one size only; by default, that of the published weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return zoo.build(arch, outputs, image_size)


def head_name(model: nn.Module) -> str:
    """The dotted name of the layer that turns features into logits: the one that timm names, or the last linear one."""
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier")
    return classifier or [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def restore(
    arch: str, state: dict[str, Tensor], image_size: int | None = None, *, needs_head: bool = True
) -> nn.Module:
    """A network with the weights of a state_dict, and as many logits as its head has rows.

    Args:
        image_size: the size to which the library interpolates position embeddings; by default they stay as they are.
        needs_head: if not, a state_dict without a head gets a random one of one logit, which is to be replaced.

    Raises:
        UserError: a name or shape is not that of the architecture; the first that differs is named.
    """
    image_size = image_size or zoo_torchvision.size_of(state)
    model = build(arch, 1000, 0, image_size)
    head = head_name(model)
    weight = state.get(f"{head}.weight")
    if weight is None and needs_head:
        raise UserError(
            f"no tensor {head}.weight, so this is not a state_dict of {arch}; allowed is one of the same architecture"
        )
    outputs = 1 if weight is None else len(weight)
    if outputs != 1000:
        model = build(arch, outputs, 0, image_size)
    own = model.state_dict()
    if weight is None:
        state = {name: tensor for name, tensor in own.items() if name.startswith(f"{head}.")} | state
    state = zoo.convert_state(arch, state, model, image_size)
    # Files older than this counter, such as those of torchvision's ResNets, lack it; no batch norm used here reads it.
    state = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")} | state
    for name in sorted(own.keys() | state.keys()):
        ours = tuple(own[name].shape) if name in own else "absent"
        theirs = tuple(state[name].shape) if name in state else "absent"
        if ours != theirs:
            raise UserError(f"tensor {name} is {theirs}, but {arch} has {ours}; allowed is a state_dict of {arch}")
    own.update(state)  # `own` has the versions of layers, without which MNASNet refuses to load
    model.load_state_dict(own)
    return model


def feature_width(model: nn.Module) -> int:
    """D, the number of features that the head reads."""
    layer = model.get_submodule(head_name(model))
    assert isinstance(layer, nn.Linear)
    return layer.in_features


def with_new_head(model: nn.Module, classes: int, seed: int) -> nn.Module:
    """Replace the head by a new linear layer of `classes` logits, with PyTorch's default initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.set_submodule(head_name(model), nn.Linear(feature_width(model), classes))
    return model


def without_head(model: nn.Module) -> nn.Module:
    """Remove the head: images (N, 3, H, W) -> features (N, D)."""
    model.set_submodule(head_name(model), nn.Identity())
    return model


def freeze_backbone(model: nn.Module) -> nn.Module:
    """Freeze all layers but the head."""
    model.requires_grad_(False)
    model.get_submodule(head_name(model)).requires_grad_(True)
    return model


def only_head_learns(model: nn.Module) -> bool:
    """Whether all layers but the head are frozen."""
    own = set(model.get_submodule(head_name(model)).parameters())
    return all(parameter in own for parameter in model.parameters() if parameter.requires_grad)


def head(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) of the head."""
    layer = model.get_submodule(head_name(model))
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach(), layer.bias.detach()


def parameters(model: nn.Module, *, trained: bool = False) -> int:
    """The number of parameters, or only of those that are `trained`: of the whole network, as publications count."""
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not trained)
    layers = (layer for layer in model.modules() if isinstance(layer, specialised.SpecialisedConv2d))
    return counted + sum(layer.unseen_weights for layer in layers if layer.weight.requires_grad or not trained)


def macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of the forward pass of one image, as publications count them: taps on padding included."""
    with specialised.untrimmed():
        return executed_macs(model, image_size)


def executed_macs(model: nn.Module, image_size: int) -> int:
    """Those that are computed, without taps that see padding alone: half of PyTorch's count of operations."""
    from torch.utils import flop_counter  # brings triton, where that is installed

    runtime.exempt_from_compiler(flop_counter._FlopCounterMode, "__torch_dispatch__")
    device = next(model.parameters()).device
    known = {torch.ops.mkldnn._linear_pointwise: products.flops} if products.fast() else {}
    counter = flop_counter.FlopCounterMode(display=False, custom_mapping=known)
    model.eval()
    with torch.no_grad(), _unfused_attention(), counter:
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return counter.get_total_flops() // 2


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Compute attention by matrix products, because PyTorch's counter misses some of its fused kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def inference_cost(model: nn.Module, image_size: int, accelerator: Accelerator) -> dict[str, Any]:
    """The cost of running a network besides time: parameters, MACs of an image, peak memory; and the environment."""
    return {
        "parameters": parameters(model),
        "macs": macs(model, image_size),
        "executed_macs": executed_macs(model, image_size),
        "peak_memory": runtime.peak_memory(accelerator.device),
        "environment": runtime.environment(accelerator),
    }
