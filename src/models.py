"""Backbones by name, the weights they start from, and new heads. For every stage that holds a network."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError


def build(arch: str, outputs: int, seed: int) -> nn.Module:
    """A randomly initialised network with `outputs` logits; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if arch.startswith("efficientnet_lite"):
            from efficientnet_lite_pytorch import EfficientNet

            # Its running statistics were set to follow slowly, over ImageNet's many steps; fine-tuning has hundreds, so
            # they follow as torchvision's do (PyTorch's momentum 0.1 is 0.9 here).
            name = arch.replace("_", "-")
            return EfficientNet.from_name(name, num_classes=outputs, batch_norm_momentum=0.9)
        from torchvision.models import get_model

        return get_model(arch, weights=None, num_classes=outputs)


def head_name(model: nn.Module) -> str:
    """The dotted name of the last linear layer, which turns features into logits."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def restore(arch: str, state: dict[str, Tensor]) -> nn.Module:
    """The network that a state_dict belongs to, with as many logits as its head has rows.

    Raises:
        UserError: the names or shapes are not the architecture's; the first that differs is named.
    """
    model = build(arch, outputs=1000, seed=0)
    weight = state.get(f"{head_name(model)}.weight")
    if weight is None:
        needed = f"{head_name(model)}.weight"
        raise UserError(
            f"no tensor {needed}, so this is not a state_dict of {arch}; allowed is one of the same architecture"
        )
    if len(weight) != 1000:
        model = build(arch, outputs=len(weight), seed=0)
    wanted = model.state_dict()
    # Weights older than this counter, such as torchvision's ResNets, lack it; it matters to no batch norm used here.
    state = {name: tensor for name, tensor in wanted.items() if name.endswith("num_batches_tracked")} | state
    for name in sorted(wanted.keys() | state.keys()):
        ours = tuple(wanted[name].shape) if name in wanted else "absent"
        theirs = tuple(state[name].shape) if name in state else "absent"
        if ours != theirs:
            raise UserError(f"tensor {name} is {theirs}, but {arch} has {ours}; allowed is a state_dict of {arch}")
    model.load_state_dict(state)
    return model


def feature_width(model: nn.Module) -> int:
    """D, the number of features that the last linear layer reads."""
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
    device = next(model.parameters()).device
    counter = FlopCounterMode(display=False)
    model.eval()
    with torch.no_grad(), counter:
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return counter.get_total_flops() // 2
