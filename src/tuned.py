"""The best settings that `tune` found, which `finetune_*` takes: YAML, by the backbone's role."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from src import files
from src.intact import reading


def write_best(path: Path, best: Mapping[str, Mapping[str, float]]) -> None:
    """By role the settings of `finetune` that were found: {resnet: {lr: 0.0003, weight_decay: 0.00002}}."""
    files.write_text(path, yaml.safe_dump({role: dict(found) for role, found in best.items()}, sort_keys=False))


def read_best(path: Path, role: str) -> dict[str, float]:
    """What was found for a role; nothing where `tune` was off.

    Raises:
        UserError: there is no such file, or it is none of `tune`'s.
    """
    with reading(path):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: float(value) for name, value in found.get(role, {}).items()}
