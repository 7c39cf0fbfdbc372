"""Layers joined with those before them, for a network that only answers: batch normalisation and GELU."""

import itertools
from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval

from src.nets import products
from src.nets.specialised import is_plain


class _Layers(fx.Tracer):
    """Traces a network down to its layers; a library's own convolution counts as a layer."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def fold(model: nn.Module) -> nn.Module:
    """Fold each batch norm into the convolution before it, in evaluation mode; outputs change by rounding only.

    A pair is folded if nothing else reads the output of the convolution, and both are called once. A network whose
    calls depend on its inputs cannot be traced, and keeps its batch norms. A GELU that follows a linear layer in a
    sequence is computed with it.
    """
    _join_gelus(model)
    layers = dict(model.eval().named_modules())
    nodes = _layer_calls(model)
    calls = Counter(node.target for node in nodes)
    for node in nodes:
        if type(norm := layers[node.target]) is not nn.BatchNorm2d or calls[node.target] > 1:
            continue
        source = node.args[0]
        conv = layers.get(source.target) if source.op == "call_module" and calls[source.target] == 1 else None
        if conv is not None and is_plain(conv) and len(source.users) == 1:
            model.set_submodule(source.target, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(node.target, nn.Identity())
    return model


def _join_gelus(model: nn.Module) -> None:
    for sequence in (part for part in model.modules() if type(part).forward is nn.Sequential.forward):
        for (_, linear), (name, gelu) in itertools.pairwise(list(sequence.named_children())):
            if type(linear) is nn.Linear and type(gelu) is nn.GELU and gelu.approximate == "none":
                linear.__class__ = products.LinearGELU
                sequence.set_submodule(name, nn.Identity())


def _layer_calls(model: nn.Module) -> list[Any]:
    """The calls of a network's layers in order; empty if it has no batch norm or cannot be traced."""
    if not any(type(layer) is nn.BatchNorm2d for layer in model.modules()):
        return []
    try:
        nodes = _Layers().trace(model).nodes
    except (
        fx.proxy.TraceError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ):  # by whatever its code does with a proxy
        return []
    return [node for node in nodes if node.op == "call_module"]
