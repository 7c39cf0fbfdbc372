"""Batch normalisation folded into the convolution before it, for a network that learns nothing. For `embed_*`."""

from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval

from src.trimmed import is_plain


class _Layers(fx.Tracer):
    """Follows a network from layer to layer, without looking into those that are convolutions of a library's own."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def fold(model: nn.Module) -> nn.Module:
    """The same network in evaluation mode, a layer less for each such pair; outputs change by rounding alone.

    The two are a pair where nothing else reads what the convolution puts out, and neither is called twice. A network
    that cannot be followed, since what it does depends on its inputs, stays as it is.
    """
    layers = dict(model.eval().named_modules())
    nodes = list(_followed(model))
    calls = Counter(node.target for node in nodes)
    for node in nodes:
        if type(norm := layers[node.target]) is not nn.BatchNorm2d or calls[node.target] > 1:
            continue
        feeder = node.args[0]
        conv = layers.get(feeder.target) if feeder.op == "call_module" and calls[feeder.target] == 1 else None
        if conv is not None and is_plain(conv) and len(feeder.users) == 1:
            model.set_submodule(feeder.target, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(node.target, nn.Identity())
    return model


def _followed(model: nn.Module) -> list[Any]:
    """The calls of a network's layers in their order; none where it has nothing to fold, or cannot be followed."""
    if not any(type(layer) is nn.BatchNorm2d for layer in model.modules()):
        return []
    try:
        nodes = _Layers().trace(model).nodes
    except (fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError):  # what its code does to a proxy
        return []
    return [node for node in nodes if node.op == "call_module"]
