"""Features of a frozen backbone for the images that an experiment reads; those of earlier experiments are kept."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from src.device import mps_check, runtime
from src.device.prefetch import OnHost, gathered
from src.nets import folding, inference, models, preprocess, specialised
from src.records.embed import Embedding
from src.storage import features, files
from src.storage.features import ImageRows
from src.storage.resume import StateFile
from src.storage.rows import Row, RowStore

HERE = Path(__file__).parent
PIECE = 256  # images whose pixels, or rows, are read together
POLL = 1.0  # seconds

Value = TypeVar("Value")
Weights = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """All images (N, H, W, 3) uint8 of a split, and the sorted positions (n,) of those that an experiment reads."""

    images: OnHost
    index: np.ndarray

    @cached_property
    def sources(self) -> ImageRows:
        """The SHA-256 (n, 32) uint8 of the shape and the pixels of each image that is read."""
        result, start = np.empty((len(self.index), 32), np.uint8), 0
        shape = str(self.images.shape[1:]).encode()
        pieces = (self.index[first : first + PIECE] for first in range(0, len(self.index), PIECE))
        for piece in gathered(self.images, pieces, torch.device("cpu")):
            for image in piece.numpy():
                result[start] = np.frombuffer(hashlib.sha256(shape + image.tobytes()).digest(), np.uint8)
                start += 1
        return ImageRows(self.index, result)

    def found(self, store: RowStore) -> Iterator[tuple[list[bytes], dict[bytes, Row]]]:
        """The sources in the order of `index`, piece by piece, each with the rows of those that the store has."""
        for start in range(0, len(self.index), PIECE):
            names = [source.tobytes() for source in self.sources.rows[start : start + PIECE]]
            yield names, store.read(names)


@dataclass(frozen=True)
class Network:
    """A frozen backbone on its device, without its head, and what it was before."""

    model: nn.Module
    view: preprocess.View
    accelerator: Accelerator
    width: int
    parameters: int
    head: dict[str, np.ndarray]

    @classmethod
    def of(cls, weights: Weights, image_size: int, normalisation: str, accelerator: Accelerator) -> "Network":
        state, origin = weights
        model = models.restore(origin["arch"], state, image_size, needs_head=False)
        head, width = pretrained_head(model, origin), models.feature_width(model)
        parameters = models.parameters(models.without_head(model))  # before batch norms are folded
        model = specialised.place(folding.fold(model), image_size, accelerator.device).requires_grad_(False)
        view = preprocess.view(origin["arch"], image_size, normalisation, weights=origin["weights"])
        return cls(model, view, accelerator, width, parameters, head)

    def agreed(self, decide: Callable[[], Value]) -> Value:
        """What the first process decides, in all processes."""
        if self.accelerator.num_processes == 1:
            return decide()
        value = decide() if self.accelerator.is_main_process else None
        return broadcast_object_list([value])[0]


def embed(
    folder: Path,
    *,
    weights: Weights,
    parts: Mapping[str, Part],
    image_size: int,
    normalisation: str,
    accelerator: Accelerator,
    shared: Path | None,
    state_file: StateFile,
) -> Embedding | None:
    """Embed images, and return the cost; of several processes, only the first writes files and returns it.

    Args:
        folder: gets the features and the pretrained head, see `features.write` and `pretrained_head`.
        weights: a state_dict and its origin, of `files.read_tensors`.
        parts: by split the images to embed.
        shared: the folder of the rows that experiments share; None to embed every image here.
        state_file: knows of signals.
    """
    network = Network.of(weights, image_size, normalisation, accelerator)
    name = f"{key(weights, network.view, accelerator)}.sqlite"
    store = RowStore(shared / name if shared and accelerator.is_main_process else None)
    new = fill(store, parts, network, state_file)
    if not accelerator.is_main_process:
        return None
    found = {split: (part.index, part.found(store)) for split, part in parts.items()}
    spent = features.write(folder, found, network.width)
    files.write_arrays(folder / "head.npz", **network.head)
    files.write_sums(folder)
    count = sum(len(part.index) for part in parts.values())
    print(f"{count:,} images -> {network.width} features each: {new:,} embedded, {count - new:,} there already")
    cost = models.inference_cost(network.model, image_size, accelerator)
    cost |= {"parameters": network.parameters, "peak_memory": spent.memory}
    return Embedding(images=count, seconds=spent.seconds, images_per_second=count / spent.seconds, **cost)


def pretrained_head(model: nn.Module, origin: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weight (1000, D) and bias (1000,) of a head pretrained on ImageNet-1k; empty for any other head, or none."""
    weight, bias = (part.numpy() for part in models.head(model))
    return {"weight": weight, "bias": bias} if origin["weights"] != "random" and len(weight) == 1000 else {}


def key(weights: Weights, view: preprocess.View, accelerator: Accelerator) -> str:
    """32 hexadecimal digits for all that decides a row besides its image: weights, preprocessing, code and machine."""
    state, origin = weights
    machine = runtime.machine(accelerator)
    if not origin["arch"].startswith("timm/"):  # another network of the same process may have imported it
        machine = {name: value for name, value in machine.items() if name not in runtime.OPTIONAL}
    exact = torch.are_deterministic_algorithms_enabled()
    about = [origin["arch"], files.digest(state), repr(view), machine, exact, specialised.ENABLED]
    hasher = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for path in sorted([*HERE.glob("nets/*.py"), *HERE.glob("device/*.py"), HERE / "embed.py"]):
        hasher.update(f"{path.relative_to(HERE)} {files.sha256(path)}".encode())
    return hasher.hexdigest()[:32]


def lacking(store: RowStore, parts: Mapping[str, Part]) -> dict[str, np.ndarray]:
    """The positions of the images whose rows the store lacks; of several with the same pixels, the first."""
    sources = np.concatenate([part.sources.rows for part in parts.values()])
    new = np.zeros(len(sources), bool)
    new[np.unique(sources.view("S32"), return_index=True)[1]] = True
    found = (name in rows for part in parts.values() for names, rows in part.found(store) for name in names)
    new &= ~np.fromiter(found, bool, len(sources))
    ends = np.cumsum([len(part.index) for part in parts.values()])
    chosen = np.split(new, ends[:-1])
    return {split: part.index[mine] for (split, part), mine in zip(parts.items(), chosen, strict=True)}


def fill(store: RowStore, parts: Mapping[str, Part], network: Network, state_file: StateFile) -> int:
    """Embed the images whose rows the store lacks, as the only process that does; how many they were."""
    todo = network.agreed(lambda: lacking(store, parts))
    if not sum(map(len, todo.values())):
        return 0
    if not network.agreed(lambda: store.acquire(0)):
        if network.accelerator.is_main_process:
            print("another process embeds with this network; waiting for what it embeds", flush=True)
        while not network.agreed(lambda: store.acquire(POLL)):
            state_file.leave_if_asked("while another process embedded")
    try:
        todo = network.agreed(lambda: lacking(store, parts))
        compute(store, parts, todo, network, state_file)
    finally:
        store.release()
    return sum(map(len, todo.values()))


def compute(
    store: RowStore,
    parts: Mapping[str, Part],
    todo: Mapping[str, np.ndarray],
    network: Network,
    state_file: StateFile,
) -> None:
    """Embed the images at the positions of `todo`, and add their rows.

    Raises:
        UserError: a signal was received.
    """
    done, count = 0, sum(map(len, todo.values()))
    if count:
        mps_check.require(network.model, network.view.size)
    for split, positions in todo.items():
        shown = {"accelerator": network.accelerator, "label": f"embed {split}"}
        images, start = parts[split].images, time.perf_counter()
        blocks = inference.outputs(network.model, images, positions, view=network.view, full_batches=True, **shown)
        first = 0
        for block in blocks:
            seconds = (time.perf_counter() - start) / len(block)
            if network.accelerator.is_main_process:
                memory = runtime.peak_memory(network.accelerator.device)
                sources = parts[split].sources[positions[first : first + len(block)]]
                for source, row in zip(sources, block, strict=True):
                    store.add(source.tobytes(), Row(row.tobytes(), seconds, memory))
                first, done = first + len(block), done + len(block)
                if store.due():
                    store.flush()
                state_file.leave_if_asked(f"after {done:,} of {count:,} images")
            start = time.perf_counter()
