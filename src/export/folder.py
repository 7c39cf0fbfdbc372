"""The files of the folder but its card, each compared with the experiment as a user would load it."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save

from src.export import card, programs
from src.export.network import Exported
from src.export.programs import Check
from src.nets import models
from src.predict.arm import Arm
from src.storage import files


def write(folder: Path, arm: Arm, exported: Exported, images: np.ndarray, expected: np.ndarray) -> list[Check]:
    """Write config.json, model.safetensors, model.pt2 and model.onnx.

    Args:
        images: test images (n, H, W, 3) uint8.
        expected: the experiment's logits (n, K) of them.

    Raises:
        UserError: the network cannot be exported, or a file does not answer as the experiment did.
    """
    view, weights = exported.view, folder / "model.safetensors"
    state = {name: tensor.contiguous().clone() for name, tensor in exported.model.state_dict().items()}
    weights.write_bytes(save(state, metadata={"format": "pt"}))  # as other libraries expect it
    files.write_json(folder / "config.json", card.config(exported, arm))
    restored = models.restore(exported.arch, load_file(weights), view.size)
    checks = [_said(programs.check(weights.name, programs.of_network(restored, view), images, expected))]
    programs.write(folder, programs.Program(exported.model, view), images)
    answers = {
        "model.pt2": programs.of_pt2(folder / "model.pt2"),
        "model.onnx, by ONNX Runtime": programs.of_onnx(folder / "model.onnx"),
    }
    if exported.timm_name:
        import timm

        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
        answers["the folder, by timm"] = programs.of_network(loaded, view)
    return checks + [_said(programs.check(name, answer, images, expected)) for name, answer in answers.items()]


def _said(check: Check) -> Check:
    print(check, flush=True)
    return check
