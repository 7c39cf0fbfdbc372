"""Every path of an artefact. A cell is one of `design.CELLS`, a backbone one of `design.ROLES`."""

import os
from pathlib import Path

from src.core import design

DATA, METRICS, PLOTS = Path("data"), Path("metrics"), Path("plots")

IMAGE_INPUTS = DATA / "inputs" / "images.json"
WEIGHT_INPUTS = DATA / "inputs" / "weights.json"
RAW = DATA / "raw"
SUBSET = DATA / "subset"
BEST_PARAMS = DATA / "tuned" / "best_params.yaml"
REPORT = PLOTS / "report.html"


def weights(backbone: str) -> Path:
    """The pretrained weights of a backbone."""
    return DATA / "weights" / f"{backbone}.safetensors"


def checkpoints(backbone: str) -> Path:
    """The folder of a backbone's fine-tuned weights, one file for each method."""
    return DATA / "checkpoints" / backbone


def features(backbone: str) -> Path:
    """The folder of a frozen backbone's features."""
    return DATA / "features" / backbone


def predictions(cell: str) -> Path:
    """The folder of a cell's logits, one file for each arm."""
    return DATA / "predictions" / cell_name(cell)


def plots(name: str) -> Path:
    """The folder of a stage's figures and plot data."""
    return PLOTS / name


def metrics(name: str) -> Path:
    """The numbers of a stage, for `dvc metrics`."""
    return METRICS / f"{name}.json"


def cell_name(cell: str) -> str:
    """A cell as files name it. The two cells of the question go by their backbone alone: `resnet.frozen` ->
    `resnet_frozen`, but `convnext.frozen` -> `convnext`."""
    backbone, column = cell.split(".")
    return backbone if cell in design.QUESTION else f"{backbone}_{column}"


def from_root(path: str | Path) -> Path:
    """Resolve a path that a person wrote; relative paths start at the root of the user's repository.

    Queued and temporary experiments run in a copy without the untracked files, and there DVC_ROOT names the user's
    repository. In a clone made by an engine of the sweep DVC_ROOT names the clone, and SWEEP_ROOT the repository.
    """
    root = os.environ.get("SWEEP_ROOT") or os.environ.get("DVC_ROOT", ".")
    return Path(root) / Path(path).expanduser()


def downloads() -> Path:
    """The folder of downloaded archives and weights, or of those put there by hand; all experiments share it."""
    folder = from_root(DATA / "downloads")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
