"""Programs that hold the preprocessing too: images (n, H, W, 3) uint8 -> logits (n, K), for any n."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.nets.preprocess import View, to_input

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
BATCH = 50
LIMIT = 0.01  # of the range of logits: the most by which they may differ from the experiment's

Answer = Callable[[np.ndarray], np.ndarray]


class Program(nn.Module):
    """A network and its preprocessing."""

    def __init__(self, model: nn.Module, view: View) -> None:
        super().__init__()
        self.model, self.view = model, view

    def forward(self, images: Tensor) -> Tensor:
        return self.model(to_input(images, self.view))


@dataclass(frozen=True)
class Check:
    """How far an artefact's logits are from the experiment's, on `n` test images; `same`: with the same class first."""

    name: str
    n: int
    difference: float
    same: int

    def __str__(self) -> str:
        how = f"largest difference of a logit {self.difference:.1e}, {self.same:,} the same class"
        return f"{self.name}: {self.n:,} test images, {how}"


def require_packages() -> None:
    """Require what writes and runs ONNX.

    Raises:
        UserError: a package is not installed.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"{' and '.join(missing)} not installed; `make export` installs what an export needs, as does "
            "pip install -r requirements-export.txt"
        )


def write(folder: Path, program: Program, images: np.ndarray) -> None:
    """Write model.pt2 and model.onnx.

    Args:
        images: some test images, with which the program is traced.

    Raises:
        UserError: the network cannot be exported.
    """
    example = torch.from_numpy(images[:2].copy())
    with torch.no_grad():
        program(example)  # makes what preprocessing keeps, before tracing would
    with _quiet():
        try:
            exported = torch.export.export(program, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
            torch.export.save(exported, folder / "model.pt2")
            torch.onnx.export(
                exported,
                (example,),
                folder / "model.onnx",
                input_names=["images"],
                output_names=["logits"],
                external_data=False,
                verbose=False,
            )
        except (RuntimeError, ValueError, TypeError) as error:  # torch's errors of tracing and of conversion are these
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"PyTorch cannot export this network ({type(error).__name__}: {reason})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notes on their own insides."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def of_network(model: nn.Module, view: View) -> Answer:
    """A network that its library built, behind the experiment's preprocessing."""
    return _of_module(Program(model.eval(), view))


def of_pt2(path: Path) -> Answer:
    return _of_module(torch.export.load(path).module())


def _of_module(module: nn.Module) -> Answer:
    @torch.inference_mode()
    def answer(images: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(images)).numpy()

    return answer


def of_onnx(path: Path) -> Answer:
    """By ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]


def check(name: str, answer: Answer, images: np.ndarray, expected: np.ndarray) -> Check:
    """Compare an artefact with the experiment.

    Args:
        images: (n, H, W, 3) uint8.
        expected: the experiment's logits (n, K) of them.

    Raises:
        UserError: the logits differ by more than rounding.
    """
    parts = [answer(np.ascontiguousarray(images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
    logits = np.concatenate(parts)
    difference = float(np.abs(logits - expected).max())
    if not difference <= LIMIT * np.ptp(expected):
        raise UserError(
            f"{name} differs from the experiment's logits by {difference:.2g}, so settings or files have changed "
            "since; `dvc repro` makes them agree"
        )
    return Check(name, len(images), difference, int((logits.argmax(1) == expected.argmax(1)).sum()))
