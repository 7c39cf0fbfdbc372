"""Whether the rules that choose how a small map is convolved choose the fastest way on the machine at hand."""

import torch
from torch import nn

from src.bench.machine import timed
from src.bench.workload import Workload
from src.nets import small_maps
from src.nets.small_maps import Shape
from src.nets.specialised import SpecialisedConv2d

REPEATS = 9
WORSE = 1.2  # a way is named if the one that was chosen takes so many times as long


def check(network: nn.Module, workload: Workload, *, train: bool, show: bool) -> dict[Shape, dict[str, float]]:
    """Time every way for every shape of a network on the CPU, and print where a rule chose another than the fastest.

    Args:
        show: whether to print all times.

    Returns:
        By shape, the seconds of each way that can compute it; shapes with a single way are left out.
    """
    if workload.device.type != "cpu":
        return {}
    layers = [layer for layer in network.modules() if isinstance(layer, SpecialisedConv2d)]
    shapes = [
        shape for shape in dict.fromkeys(layer.shape for layer in layers) if len(small_maps.admissible(shape)) > 1
    ]
    times = {shape: seconds(shape, workload.batch_size, workload.dtype, train=train) for shape in shapes}
    slower = 0
    for shape, by_way in times.items():
        ours, best = small_maps.choose(shape, "cpu", workload.dtype, train), min(by_way, key=by_way.__getitem__)
        if show:
            each = ", ".join(f"{name} {1e3 * taken:.2f}{' *' * (name == ours)}" for name, taken in by_way.items())
            print(f"  {described(shape)}: {each} ms")
        if by_way[ours] > WORSE * by_way[best]:
            slower += 1
            took = f"{ours} {1e3 * by_way[ours]:.2f} ms, {best} {1e3 * by_way[best]:.2f} ms"
            print(f"  slower rule: {described(shape)}: {took}")
    print(
        f"  of {len(times)} shapes with several ways, a rule chose one {WORSE} times slower than the best for {slower}"
    )
    return times


def described(shape: Shape) -> str:
    """A shape in a few words."""
    (height, width), (rows, columns) = shape.size, shape.kernel
    kind = "depthwise, " if shape.depthwise else ""
    return (
        f"{shape.inputs} to {shape.outputs} channels, {kind}kernel {rows} x {columns}, stride {shape.stride[0]}, "
        f"map {height} x {width}"
    )


def seconds(shape: Shape, batch: int, dtype: torch.dtype, *, train: bool) -> dict[str, float]:
    """The shortest time of each way for a batch: forward, and backward if `train`."""
    cpu = torch.device("cpu")
    maps = torch.randn(batch, shape.inputs, *shape.size).to(dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(shape.outputs, shape.inputs // shape.groups, *shape.kernel)
    kernel = small_maps.arranged(kernel, shape).requires_grad_(train)
    maps.requires_grad_(train)

    def run(way: small_maps.Way) -> None:
        with torch.set_grad_enabled(train), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            result = way(maps, kernel, None, shape)
        if train:
            torch.autograd.grad(result, [maps, kernel], result.detach())

    ways = {name: small_maps.WAYS[name] for name in small_maps.admissible(shape)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            taken[name].append(timed(cpu, lambda way=way: run(way)))  # type: ignore[misc]
    return {name: min(each) for name, each in taken.items()}
