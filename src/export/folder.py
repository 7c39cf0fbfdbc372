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
    programs.write(folder, programs.Program(exported.model, view), images)
    answers = {
        weights.name: programs.of_network(models.restore(exported.arch, load_file(weights), view.size), view),
        "model.pt2": programs.of_pt2(folder / "model.pt2"),
        "model.onnx, by ONNX Runtime": programs.of_onnx(folder / "model.onnx"),
    }
    if exported.timm_name:
        import timm

        answers["the folder, by timm"] = programs.of_network(
            timm.create_model(f"local-dir:{folder}", pretrained=True), view
        )
    checks = []
    for name, answer in answers.items():
        checks.append(programs.check(name, answer, images, expected))
        print(checks[-1], flush=True)
    return checks
