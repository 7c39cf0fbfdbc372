"""Refuse weights that no training leaves: other kinds of tensors than dense floats, and numbers that are none."""

from collections.abc import Mapping

import torch
from torch import Tensor

from src.core.errors import UserError

LONGEST = 200  # characters of a tensor's name; those of networks here have less than 80


def require_dense(state: Mapping[str, Tensor]) -> None:
    """Require that all tensors have a name and plain numbers.

    Raises:
        UserError: it names the first tensor that does not.
    """
    for name, tensor in state.items():
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= LONGEST:
            shown = repr(name)
            raise UserError(
                f"tensor {shown if len(shown) <= 80 else shown[:77] + '...'}: allowed are names of 1 to {LONGEST} "
                "printable characters; save model.state_dict()"
            )
        kinds = {
            "meta, without numbers": tensor.is_meta,
            "quantized": tensor.is_quantized,
            "nested": tensor.is_nested,
            "sparse": tensor.layout is not torch.strided,
        }
        for kind in (kind for kind, true in kinds.items() if true):
            raise UserError(f"tensor {name} is {kind}; allowed are dense tensors of floats")


def require_numbers(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Require floats where a network has floats, all of them finite, variances of at least 0, and not only zeros.

    Args:
        own: the network's state_dict, for its types.

    Raises:
        UserError: it names the first tensor that is otherwise.
    """
    for name, tensor in state.items():
        if name in own and own[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"tensor {name} is {kind}; allowed are floats, as the network's are")
        if tensor.is_floating_point() and not (numbers := tensor.float()).isfinite().all():
            what = "NaN" if numbers.isnan().any() else "infinite numbers"
            raise UserError(f"tensor {name} holds {what}; allowed are finite numbers")
        if name.endswith("running_var") and (tensor < 0).any():
            raise UserError(f"tensor {name} holds {tensor.min().item():.4g}; a variance is 0 or more")
    products = {name: tensor for name, tensor in state.items() if name in own and tensor.ndim > 1}
    if products and not any(tensor.any() for tensor in products.values()):
        raise UserError(f"tensor {next(iter(products))} and all others hold only zeros; allowed are trained weights")
