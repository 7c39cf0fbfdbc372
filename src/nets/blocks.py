"""A network in two parts: its first blocks, which stay as pretrained, and the rest, which is trained on their outputs.

As the first blocks are in evaluation mode, their outputs for an image never change: where images are not augmented they
need to be computed once, and not in every epoch.
"""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from src.nets import models


@dataclass(frozen=True)
class Cut:
    """A network cut before one of its blocks.

    Args:
        first: images (N, 3, S, S) -> activations, the input of that block; runs in evaluation mode.
        rest: activations -> logits (N, K), which shares its weights with the network; None where the network cannot be
            cut, as it needs more than these activations, or the images themselves.
        bytes: of the activations of one image.
    """

    first: nn.Module
    rest: nn.Module | None
    bytes: int


def freeze_first(model: nn.Module, share: float, image_size: int) -> list[nn.Module]:
    """Freeze this share of the blocks, from the first, and put them in evaluation mode; all else is trained.

    What lies outside of blocks, such as position embeddings, belongs to the beginning.

    Returns:
        The frozen blocks.
    """
    frozen, trained = _parted(model, share, image_size)
    model.requires_grad_(not frozen)
    for name in trained:
        model.get_submodule(name).requires_grad_(True)
    return [model.get_submodule(name).eval() for name in frozen]


def _parted(model: nn.Module, share: float, image_size: int) -> tuple[list[str], list[str]]:
    """The names of the blocks that are frozen, and of those that are trained with the head at the end."""
    names = blocks(model, image_size) if share else []
    count = round(share * len(names))
    return names[:count], [*names[count:], models.head_name(model)]


def blocks(model: nn.Module, image_size: int) -> list[str]:
    """The dotted names of the blocks that have weights, in the order in which the network calls them; not the head.

    Blocks are a network's children; sequences, what holds most of the weights, and what holds the head are opened.
    """
    have = {name for name, unit in _units(model) if any(True for _ in unit.parameters())}
    return list(dict.fromkeys(name for name in _calls(model, image_size) if name in have - {models.head_name(model)}))


def _calls(model: nn.Module, image_size: int) -> list[str]:
    """The names of the parts of a network at each of their calls."""
    calls: list[str] = []
    hooks = [
        unit.register_forward_pre_hook(partial(lambda name, *_: calls.append(name), name))
        for name, unit in _units(model)
    ]
    _run(model, _images(model, 1, image_size))
    for hook in hooks:
        hook.remove()
    return calls


def _before(model: nn.Module, block: str, image_size: int) -> list[str]:
    """The names of the parts that a network calls before a block alone."""
    calls = _calls(model, image_size)
    first = calls.index(block)
    return sorted(set(calls[:first]) - set(calls[first:]))


def _units(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    weights, head = sum(weight.numel() for weight in model.parameters()), models.head_name(model)

    def opened(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            largest = 2 * sum(weight.numel() for weight in child.parameters()) > weights
            inner = (largest and any(True for _ in child.children())) or head.startswith(f"{prefix}{name}.")
            if inner or isinstance(child, nn.Sequential | nn.ModuleList):
                yield from opened(f"{prefix}{name}.", child)
            else:
                yield prefix + name, child

    return opened("", model)


def cut(model: nn.Module, share: float, image_size: int) -> Cut | None:
    """The network cut behind its frozen blocks, see `freeze_first`; None if there are none."""
    frozen, (after, *_) = _parted(model, share, image_size)
    if not frozen:
        return None
    first = _First(model, model.get_submodule(after))
    rest = _Rest(model, _before(model, after, image_size), after)
    images = _images(model, 2, image_size)
    activations = _run(first, images)
    try:
        same = torch.equal(_run(rest, activations), _run(model, images))
    except Exception:  # whatever a network does with activations in the place of images
        same = False
    return Cut(first, rest if same else None, activations[0].nbytes)


class _ReachedError(Exception):
    """The network has come to the block before which it is cut."""

    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


class _First(nn.Module):
    """A network up to the input of one of its blocks."""

    def __init__(self, network: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.network, self.block = network, block

    def forward(self, images: Tensor) -> Tensor:
        def leave(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            raise _ReachedError(inputs[0])

        hook = self.block.register_forward_pre_hook(leave)
        try:
            self.network(images)
        except _ReachedError as reached:
            return reached.activations
        finally:
            hook.remove()
        raise AssertionError("the network did not call its own block")


class _Passing(nn.Module):
    """In the place of a block: passes on its input."""

    def forward(self, input: Tensor, *_: Any, **__: Any) -> Tensor:
        return input


class _Rest(nn.Module):
    """A network from the input of one of its blocks on. It has modules of its own, and the weights of the network.

    The blocks before pass on what they are given; so whatever is computed there meets tensors of a fitting batch, and
    is not used.
    """

    def __init__(self, network: nn.Module, before: list[str], block: str) -> None:
        super().__init__()
        shared = {id(tensor): tensor for tensor in itertools.chain(network.parameters(), network.buffers())}
        self.network = copy.deepcopy(network, dict(shared))
        for name in before:
            self.network.set_submodule(name, _Passing())
        self.network.get_submodule(block).register_forward_pre_hook(lambda _, inputs: (self.given, *inputs[1:]))

    def forward(self, activations: Tensor) -> Tensor:
        self.given = activations
        return self.network(activations.clone())  # which layers before the block may change in place


def _images(model: nn.Module, count: int, image_size: int) -> Tensor:
    """The same images every time, as a network takes them."""
    weight, rng = next(model.parameters()), torch.Generator().manual_seed(0)
    return torch.randn(count, 3, image_size, image_size, generator=rng).to(weight.device, weight.dtype)


@torch.no_grad()
def _run(model: nn.Module, inputs: Tensor) -> Tensor:
    """The output in evaluation mode; afterwards every module is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    output = model.eval()(inputs)
    for module, mode in modes.items():
        module.training = mode
    return output
