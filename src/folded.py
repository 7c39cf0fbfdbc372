"""Batch normalisation folded into the convolution before it, for a network that learns nothing. For `embed_*`."""

from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval


class _Layers(fx.Tracer):
    """Follows a network from layer to layer, without looking into those that are convolutions of a library's own."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def fold(model: nn.Module) -> nn.Module:
    """The same network in evaluation mode, a layer less for each such pair; outputs change by rounding alone.

    The two are a pair where nothing else reads what the convolution puts out.
    """
    layers = dict(model.eval().named_modules())
    for node in _Layers().trace(model).nodes:
        if node.op != "call_module" or not isinstance(norm := layers[node.target], nn.BatchNorm2d):
            continue
        feeder = node.args[0]
        conv = layers.get(feeder.target) if feeder.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and len(feeder.users) == 1:
            model.set_submodule(feeder.target, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(node.target, nn.Identity())
    return model
