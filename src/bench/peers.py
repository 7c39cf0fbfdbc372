"""Other ways to train and to embed, which `make bench` times in the same run; they are in requirements-bench.txt.

Each gets the same network and the same images as this project's, and its own best manner of feeding them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.bench import baseline
from src.bench.machine import timed
from src.bench.workload import Way, Workload

WORKERS = baseline.WORKERS


def missing(*packages: str) -> list[str]:
    """Those that are not installed."""
    return [package for package in packages if find_spec(package) is None]


def autocast(workload: Workload) -> AbstractContextManager[Any]:
    """The precision of this project's training, for a way that has no setting of its own."""
    if workload.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(workload.device.type, workload.dtype)


def training_timm(workload: Workload) -> Way:
    """Training as timm's train.py does: its loader and transforms, its optimizer, its order of steps."""
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2

    model = workload.network().to(workload.device).train()
    optimizer = create_optimizer_v2(model, opt="adam", lr=workload.lr, weight_decay=workload.config.weight_decay)
    loss_fn = nn.CrossEntropyLoss()

    def way(batches: int) -> float:
        raw, labels = workload.data(batches + 1)
        loader = create_loader(
            baseline.ArrayDataset(raw, np.arange(len(raw)), labels, None),
            (3, workload.image_size, workload.image_size),
            workload.batch_size,
            is_training=True,
            use_prefetcher=False,
            mean=workload.view.mean,
            std=workload.view.std,
            num_workers=WORKERS,
            device=workload.device,
            persistent_workers=False,
        )
        epoch = iter(loader)
        next(epoch)  # its workers have started, which happens once in an epoch

        def run() -> None:
            for inputs, target in epoch:
                with autocast(workload):
                    loss = loss_fn(model(inputs), target)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

        return timed(workload.device, run)

    return way


def training_compiled(workload: Workload) -> Way:
    """Training of the plain network by torch.compile, on the baseline's batches."""
    model = workload.network().to(workload.device).train()
    optimizer = baseline.optimizer(model, workload.lr, workload.config.weight_decay)

    @torch.compile
    def loss_of(inputs: Tensor, target: Tensor) -> Tensor:
        with autocast(workload):
            return F.cross_entropy(model(inputs), target)

    def run(epoch: Iterator[Any]) -> None:
        for inputs, target in epoch:
            optimizer.zero_grad()
            loss_of(inputs.to(workload.device), target.to(workload.device)).backward()
            optimizer.step()

    return lambda batches: timed(workload.device, partial(run, workload.baseline_batches(batches, train=True)))


def embedding_compiled(workload: Workload) -> Way:
    """Embedding by torch.compile of the plain network."""
    network = torch.compile(workload.backbone().to(workload.device).eval())
    return _embedding(workload, lambda inputs: network(inputs.to(workload.device)))


def embedding_openvino(workload: Workload) -> Way:
    """Embedding by OpenVINO in float32; it chooses its own layouts and fuses layers."""
    import openvino

    example = workload.inputs(1)[0]
    network = openvino.convert_model(workload.backbone().eval(), example_input=example)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = openvino.Core().compile_model(network, "CPU", hints).create_infer_request()
    return _embedding(workload, lambda inputs: request.infer({0: inputs.numpy()}))


def embedding_onnxruntime(workload: Workload) -> Way:
    """Embedding by ONNX Runtime in float32."""
    import onnxruntime

    example = workload.inputs(1)[0]
    program = torch.onnx.export(workload.backbone().eval(), (example,), dynamo=True, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _embedding(workload, lambda inputs: session.run(None, {name: inputs.numpy()}))


def _embedding(workload: Workload, answer: Callable[[Tensor], Any]) -> Way:
    """A network on batches that this project prepares, since a peer brings none of its own."""

    @torch.inference_mode()
    def way(batches: int) -> float:
        given = workload.inputs(batches)
        return timed(workload.device, lambda: [answer(inputs) for inputs in given])

    return way
