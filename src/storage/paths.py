"""The paths of all artefacts. A backbone is one of `design.ROLES`, or the short name of a further one."""

import os
from pathlib import Path

from src.core import design
from src.core.errors import UserError

DATA, METRICS, PLOTS = Path("data"), Path("metrics"), Path("plots")
RECORDS = DATA / "results"

IMAGE_INPUTS = DATA / "inputs" / "images.json"
WEIGHT_INPUTS = DATA / "inputs" / "weights.json"
RAW = DATA / "raw"
SUBSET = DATA / "subset"
BEST_PARAMS = DATA / "tuned" / "best_params.yaml"
CLASSES = SUBSET / "classes.json"
REPORT = PLOTS / "report.html"
FURTHER = "backbones"  # the stage of backbones that are neither role, and its folder beside those of the roles


def _place(backbone: str) -> str:
    """The files of roles are outputs of stages of their own; one folder holds those of all others."""
    return backbone if backbone in design.ROLES else f"{FURTHER}/{backbone}"


def weights(backbone: str) -> Path:
    """The pretrained weights of a backbone."""
    return DATA / "weights" / f"{_place(backbone)}.safetensors"


def of_seed(folder: Path, seed: int) -> Path:
    """The part of a folder of checkpoints or predictions that belongs to one seed."""
    return folder / f"seed{seed}"


def subset(seed: int) -> Path:
    """The images of an experiment under one seed: see `prepare.subset.choose_images`."""
    return SUBSET / f"seed{seed}.npz"


def checkpoints(backbone: str) -> Path:
    """The folder of a backbone's fine-tuned weights: for each seed a folder, with one file for each method."""
    return DATA / "checkpoints" / _place(backbone)


def features(backbone: str) -> Path:
    """The folder of a frozen backbone's features."""
    return DATA / "features" / _place(backbone)


def predictions(cell: str) -> Path:
    """The folder of a cell's logits: for each seed a folder, with one file for each arm."""
    return DATA / "predictions" / cell_name(cell)


def plots(name: str) -> Path:
    """The folder of a stage's tables, which git tracks: they are small, and `dvc plots` draws them."""
    return PLOTS / name


def pictures(tables: Path) -> Path:
    """The folder of the pictures that go with a folder of tables; DVC tracks it."""
    return tables.parent / "pictures" / tables.name


def metrics(name: str) -> Path:
    """The file of the few numbers of a stage that `dvc metrics` and `dvc exp show` list."""
    return METRICS / f"{name}.json"


def record(name: str) -> Path:
    """What a stage leaves for other stages and programs, as a record."""
    return RECORDS / f"{name}.json"


def cell_name(cell: str) -> str:
    """The name of a cell in paths: `resnet.frozen` -> `resnet_frozen`.

    The two cells of the question are named by their backbone alone: `convnext.frozen` -> `convnext`.
    """
    backbone, column = cell.split(".")
    return backbone if cell in design.QUESTION else f"{_place(backbone)}_{column}"


def from_root(path: str | Path) -> Path:
    """Resolve a path of the settings; a relative one starts at the root of the user's repository.

    Queued and temporary experiments run in a copy without the untracked files, where DVC_ROOT is the user's repository.
    In the clone of a sweep's task DVC_ROOT is the clone, and SWEEP_ROOT the user's repository.

    Raises:
        UserError: it begins with `~` and the name of nobody here.
    """
    root = os.environ.get("SWEEP_ROOT") or os.environ.get("DVC_ROOT", ".")
    try:
        return Path(root) / Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: {Path(path).parts[0]} is no user's home here; write the whole path") from None


def downloads() -> Path:
    """The folder of archives and weights, downloaded or put there by hand, which all experiments share."""
    folder = from_root(DATA / "downloads")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
